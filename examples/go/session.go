package quern

// #include <quern.h>
import "C"

import (
	"context"
	"runtime"
	"sync"
	"unsafe"
)

// Pool says how an embedding is made of the tokens' vectors.
type Pool uint32

// The poolings of quern.h.
const (
	PoolModel Pool = iota // as the model says
	PoolMean
	PoolCLS
	PoolLast
)

// SessionOptions are those of NewSession; nil and zero values are the defaults of quern.h.
type SessionOptions struct {
	MaxTokens    uint32 // most tokens of one pass, all its sequences together
	MaxSequences uint32 // most sequences of one pass
	TextTokens   uint32 // texts are cut to this many tokens, specials included
	Pool         Pool
	NoNormalize  bool // embeddings as pooled, also where the model would scale them to length 1
}

// Session is working memory for one call at a time; others wait.
type Session struct {
	model *Model
	s     *C.quern_session
	busy  sync.Mutex
	ref   counted
}

// NewSession allocates a session. Calls on it allocate nothing in the library.
func (m *Model) NewSession(o *SessionOptions) (*Session, error) {
	if err := m.ref.acquire(); err != nil {
		return nil, err
	}
	var co C.quern_session_options
	C.quern_session_options_init(&co, C.uint32_t(unsafe.Sizeof(co)))
	if o != nil {
		co.max_tokens, co.max_sequences = C.uint32_t(o.MaxTokens), C.uint32_t(o.MaxSequences)
		co.text_tokens, co.pool = C.uint32_t(o.TextTokens), C.uint32_t(o.Pool)
		if o.NoNormalize {
			co.flags = C.QUERN_NO_NORMALIZE
		}
	}
	var p *C.quern_session
	if status := C.quern_session_create(&p, m.m, &co); status != C.QUERN_OK {
		err := m.context.failed(status)
		m.ref.release()
		return nil, err
	}
	s := &Session{model: m, s: p}
	s.ref.free = func() {
		C.quern_session_free(p)
		m.ref.release()
	}
	runtime.SetFinalizer(s, (*Session).Close)
	return s, nil
}

// Close frees the session's memory, after the call in progress. It may be called again.
func (s *Session) Close() { s.ref.close() }

// run is one call on the session; it ends early, with ctx.Err(), when ctx does.
func (s *Session) run(ctx context.Context, call func() C.quern_status) error {
	if err := s.ref.acquire(); err != nil {
		return err
	}
	defer s.ref.release()
	s.busy.Lock()
	defer s.busy.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	cancelled := s.watch(ctx)
	status := call()
	if cancelled() {
		if status != C.QUERN_E_CANCELLED {
			s.forgetCancel()
		} else {
			return ctx.Err()
		}
	}
	if status != C.QUERN_OK {
		var why message
		C.quern_session_error(s.s, &why[0], messageBytes)
		return failed(status, &why)
	}
	return nil
}

// watch cancels the call in progress when ctx ends. The function that it returns ends the watch and tells whether it did.
func (s *Session) watch(ctx context.Context) func() bool {
	if ctx.Done() == nil {
		return func() bool { return false }
	}
	over, fired := make(chan struct{}), make(chan bool)
	go func() {
		select {
		case <-ctx.Done():
			C.quern_session_cancel(s.s)
			fired <- true
		case <-over:
			fired <- false
		}
	}()
	return func() bool {
		close(over)
		return <-fired
	}
}

// forgetCancel uses up a cancel that came too late for the call it was meant for: it would end the next one.
func (s *Session) forgetCancel() {
	id, length := C.int32_t(0), C.uint32_t(1)
	var view C.quern_tensor_view
	C.quern_encode(s.s, &id, nil, &length, 1, &view)
}

// rows cuts a matrix into its rows, which share its memory.
func rows(matrix []float32, n, width int) [][]float32 {
	out := make([][]float32, n)
	for i := range out {
		out[i] = matrix[i*width : (i+1)*width : (i+1)*width]
	}
	return out
}

func floatsOf(x []float32) *C.float {
	if len(x) == 0 {
		return nil
	}
	return (*C.float)(&x[0])
}

// Embed gives an embedding of each text. The rows lie one after another in memory.
func (s *Session) Embed(ctx context.Context, texts ...string) ([][]float32, error) {
	bytes, offsets := flat(texts)
	width := s.model.info.EmbeddingWidth
	if width == 0 {
		width = s.model.info.Width // pooled by a session's option
	}
	out := make([]float32, len(texts)*width)
	err := s.run(ctx, func() C.quern_status {
		return C.quern_embed_batch(s.s, charsOf(bytes), (*C.int64_t)(&offsets[0]), C.size_t(len(texts)), floatsOf(out),
			C.size_t(len(out)), nil)
	})
	if err != nil {
		return nil, err
	}
	return rows(out, len(texts), width), nil
}

// Class is a text's result of a classification. A regression has label 0 and its score in Logits[0].
type Class struct {
	Label                 int // of the largest logit, the first of equals
	Logits, Probabilities []float32
}

// Classify classifies texts.
func (s *Session) Classify(ctx context.Context, texts ...string) ([]Class, error) {
	return s.classify(ctx, texts, len(texts), 0)
}

// ClassifyPairs classifies pairs of texts.
func (s *Session) ClassifyPairs(ctx context.Context, pairs ...[2]string) ([]Class, error) {
	texts := make([]string, 0, 2*len(pairs))
	for _, pair := range pairs {
		texts = append(texts, pair[0], pair[1])
	}
	return s.classify(ctx, texts, len(pairs), C.QUERN_PAIRS)
}

func (s *Session) classify(ctx context.Context, texts []string, n int, flags C.uint32_t) ([]Class, error) {
	bytes, offsets := flat(texts)
	labels := s.model.info.Labels
	logits, probabilities := make([]float32, n*labels+1), make([]float32, n*labels+1) // one more: never NULL
	err := s.run(ctx, func() C.quern_status {
		return C.quern_classify_batch(s.s, charsOf(bytes), (*C.int64_t)(&offsets[0]), C.size_t(len(texts)), flags,
			floatsOf(logits), floatsOf(probabilities), C.size_t(n*labels))
	})
	if err != nil {
		return nil, err
	}
	out := make([]Class, n)
	l, p := rows(logits, n, labels), rows(probabilities, n, labels)
	for i := range out {
		out[i] = Class{Logits: l[i], Probabilities: p[i]}
		for k, x := range l[i] {
			if x > l[i][out[i].Label] {
				out[i].Label = k
			}
		}
	}
	return out, nil
}
