package quern

// #include <quern.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// ModelOptions are those of Open; nil and zero values are the defaults of quern.h.
type ModelOptions struct {
	Verify   bool   // check every checksum before returning: reads the whole file
	MaxBytes uint64 // 0: no limit; a larger file is refused
}

// Info describes a model.
type Info struct {
	Layers, Width, Heads, FFNWidth int
	Vocab                          int
	MaxTokens                      int // position limit
	SentenceTokens                 int // length that texts are cut to by default, special tokens included
	Labels                         int // outputs of the classification head; 0: none
	EmbeddingWidth                 int // floats of one embedding; 0: the model is no embedder
	Regression                     bool
	Params, Bytes                  uint64
}

// Model is a mapped model file, read-only.
type Model struct {
	context *Context
	m       *C.quern_model
	info    Info
	ref     counted
}

// Open maps a .qrn file.
func (c *Context) Open(path string, o *ModelOptions) (*Model, error) {
	if err := c.ref.acquire(); err != nil {
		return nil, err
	}
	name, err := cString(path)
	if err != nil {
		c.ref.release()
		return nil, err
	}
	defer C.free(unsafe.Pointer(name))
	var co C.quern_model_options
	C.quern_model_options_init(&co, C.uint32_t(unsafe.Sizeof(co)))
	if o != nil {
		co.max_bytes = C.uint64_t(o.MaxBytes)
		if o.Verify {
			co.flags = C.QUERN_OPEN_VERIFY
		}
	}
	var p *C.quern_model
	if status := C.quern_model_open(&p, c.c, name, &co); status != C.QUERN_OK {
		err := c.failed(status)
		c.ref.release()
		return nil, err
	}
	i := C.quern_model_info{size: C.uint32_t(unsafe.Sizeof(C.quern_model_info{}))}
	C.quern_model_get_info(p, &i)
	m := &Model{context: c, m: p}
	m.info = Info{
		Layers: int(i.layers), Width: int(i.width), Heads: int(i.heads), FFNWidth: int(i.ffn_width),
		Vocab: int(i.vocab), MaxTokens: int(i.max_tokens), SentenceTokens: int(i.sentence_tokens),
		Labels: int(i.labels), EmbeddingWidth: int(i.embedding_width), Regression: i.regression != 0,
		Params: uint64(i.params), Bytes: uint64(i.bytes),
	}
	m.ref.free = func() {
		C.quern_model_free(p)
		c.ref.release()
	}
	runtime.SetFinalizer(m, (*Model).Close)
	return m, nil
}

// Close ends the model once its sessions are closed too. It may be called again.
func (m *Model) Close() { m.ref.close() }

// Info is known without the file: it can be asked of a closed model too.
func (m *Model) Info() Info { return m.info }

// Meta is a value of the metadata as text, "general.recipe" and the like.
func (m *Model) Meta(key string) (string, error) {
	if err := m.ref.acquire(); err != nil {
		return "", err
	}
	defer m.ref.release()
	name, err := cString(key)
	if err != nil {
		return "", err
	}
	defer C.free(unsafe.Pointer(name))
	var n C.size_t
	if status := C.quern_model_get_meta(m.m, name, nil, 0, &n); status != C.QUERN_OK {
		return "", m.context.failed(status)
	}
	buf := make([]byte, n+1)
	if status := C.quern_model_get_meta(m.m, name, (*C.char)(unsafe.Pointer(&buf[0])), n+1, &n); status != C.QUERN_OK {
		return "", m.context.failed(status)
	}
	return string(buf[:n]), nil
}

// Labels are the names of the classes; empty where the model has no classification head.
func (m *Model) Labels() ([]string, error) {
	names := make([]string, m.info.Labels)
	for i := range names {
		name, err := m.Meta(fmt.Sprintf("label.%d", i))
		if err != nil {
			return nil, err
		}
		names[i] = name
	}
	return names, nil
}

// flat is texts in Arrow's layout: their bytes and n + 1 offsets.
func flat(texts []string) ([]byte, []int64) {
	var bytes []byte
	offsets := make([]int64, 1, len(texts)+1)
	for _, text := range texts {
		bytes = append(bytes, text...)
		offsets = append(offsets, int64(len(bytes)))
	}
	return bytes, offsets
}

func charsOf(bytes []byte) *C.char {
	if len(bytes) == 0 {
		return nil
	}
	return (*C.char)(unsafe.Pointer(&bytes[0]))
}

// Tokenize gives the token ids of a text, special tokens included.
func (m *Model) Tokenize(text string) ([]int32, error) {
	return m.tokenize(len(text), func(ids *C.int32_t, cap C.size_t, n *C.size_t) C.quern_status {
		bytes := []byte(text)
		if len(bytes) == 0 {
			bytes = []byte{0}
		}
		return C.quern_tokenize(m.m, charsOf(bytes), C.size_t(len(text)), 0, ids, cap, n)
	})
}

// TokenizePair gives the token ids of a pair of texts and the token types.
func (m *Model) TokenizePair(a, b string) (ids, types []int32, err error) {
	ids, err = m.tokenize(len(a)+len(b), func(ids *C.int32_t, cap C.size_t, n *C.size_t) C.quern_status {
		types = make([]int32, cap)
		x, y := append([]byte(a), 0), append([]byte(b), 0)
		return C.quern_tokenize_pair(m.m, charsOf(x), C.size_t(len(a)), charsOf(y), C.size_t(len(b)), 0, ids,
			(*C.int32_t)(unsafe.Pointer(&types[0])), cap, n)
	})
	if err != nil {
		return nil, nil, err
	}
	return ids, types[:len(ids)], nil
}

// tokenize calls fill with room for what texts of that many bytes mostly need, and again if that was too little.
func (m *Model) tokenize(bytes int, fill func(ids *C.int32_t, cap C.size_t, n *C.size_t) C.quern_status) ([]int32, error) {
	if err := m.ref.acquire(); err != nil {
		return nil, err
	}
	defer m.ref.release()
	ids := make([]int32, bytes/3+16)
	for {
		var n C.size_t
		status := fill((*C.int32_t)(unsafe.Pointer(&ids[0])), C.size_t(len(ids)), &n)
		switch {
		case status == C.QUERN_OK:
			return ids[:n], nil
		case status != C.QUERN_E_CAPACITY:
			return nil, m.context.failed(status)
		}
		ids = make([]int32, n)
	}
}

// Detokenize gives the text of token ids, special tokens left out.
func (m *Model) Detokenize(ids []int32) (string, error) {
	if err := m.ref.acquire(); err != nil {
		return "", err
	}
	defer m.ref.release()
	if len(ids) == 0 {
		return "", nil
	}
	buf := make([]byte, 8*len(ids)+16)
	for {
		var n C.size_t
		status := C.quern_detokenize(m.m, (*C.int32_t)(unsafe.Pointer(&ids[0])), C.size_t(len(ids)), 0,
			charsOf(buf), C.size_t(len(buf)), &n)
		switch {
		case status == C.QUERN_OK:
			return string(buf[:n]), nil
		case status != C.QUERN_E_CAPACITY:
			return "", m.context.failed(status)
		}
		buf = make([]byte, n+1)
	}
}

// Dot is the inner product in the library's fixed order: for embeddings of length 1, their similarity. It panics when
// the vectors differ in length, or when the context is closed.
func (c *Context) Dot(a, b []float32) float32 {
	if len(a) != len(b) {
		panic(fmt.Sprintf("quern: vectors of %d and %d floats", len(a), len(b)))
	}
	if err := c.ref.acquire(); err != nil {
		panic(err)
	}
	defer c.ref.release()
	if len(a) == 0 {
		return 0
	}
	return float32(C.quern_dot(c.c, (*C.float)(&a[0]), (*C.float)(&b[0]), C.size_t(len(a))))
}
