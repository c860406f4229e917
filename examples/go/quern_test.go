package quern

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var background = context.Background()

// path is the shipped model: QUERN_MODEL, else that of the tree.
func path() string {
	if path := os.Getenv("QUERN_MODEL"); path != "" {
		return path
	}
	return "../../models/all-MiniLM-L6-v2.int8.qrn"
}

func newContext(t *testing.T, o *ContextOptions) *Context {
	t.Helper()
	c, err := NewContext(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func open(t *testing.T, path string) *Model {
	t.Helper()
	m, err := newContext(t, nil).Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func session(t *testing.T, m *Model, o *SessionOptions) *Session {
	t.Helper()
	s, err := m.NewSession(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func embed(t *testing.T, s *Session, texts ...string) [][]float32 {
	t.Helper()
	rows, err := s.Embed(background, texts...)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// wants checks a failed call's status and a part of its message.
func wants(t *testing.T, err error, status Status, part string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Status != status || !strings.Contains(e.Error(), part) {
		t.Errorf("%v, wanted status %d and %q", err, status, part)
	}
}

func TestBatchEqualsItsTextsAlone(t *testing.T) {
	m := open(t, path())
	s := session(t, m, nil)
	texts := []string{"a cat on a mat", "", "naïve café 東京", "a\x00b", strings.Repeat("x", 3000)}
	all := embed(t, s, texts...)
	if len(all) != len(texts) || len(all[0]) != m.Info().EmbeddingWidth || len(all[0]) != 384 {
		t.Fatalf("%d rows of %d", len(all), len(all[0]))
	}
	for i, text := range texts {
		if !reflect.DeepEqual(embed(t, s, text)[0], all[i]) {
			t.Errorf("text %d differs alone", i)
		}
	}
	if rows := embed(t, s); len(rows) != 0 {
		t.Error("rows from no texts")
	}
	if near := m.context.Dot(all[0], embed(t, s, "a kitten lies on a rug")[0]); near < 0.3 || near > 0.99 {
		t.Errorf("similarity %v", near)
	}
}

func TestEveryKernelSetGivesTheSameBytes(t *testing.T) {
	want := embed(t, session(t, open(t, path()), nil), "the same bytes", "everywhere")
	for _, isa := range ISANames() {
		c := newContext(t, &ContextOptions{ISA: isa, Threads: 2})
		m, err := c.Open(path(), &ModelOptions{Verify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if c.ISA() != isa || c.Threads() != 2 {
			t.Errorf("%s on %d threads", c.ISA(), c.Threads())
		}
		if !reflect.DeepEqual(embed(t, session(t, m, nil), "the same bytes", "everywhere"), want) {
			t.Errorf("%s differs", isa)
		}
	}
}

func TestGoroutinesShareEverything(t *testing.T) {
	m := open(t, path())
	shared := session(t, m, nil)
	want := embed(t, shared, "shared")
	var wait sync.WaitGroup
	for i := 0; i < 8; i++ {
		s := shared
		if i%2 == 0 {
			s = session(t, m, nil)
		}
		wait.Add(1)
		go func() {
			defer wait.Done()
			for k := 0; k < 5; k++ {
				rows, err := s.Embed(background, "shared")
				if err != nil || !reflect.DeepEqual(rows, want) {
					t.Error("another result, or", err)
				}
				if ids, err := m.Tokenize("shared"); err != nil || len(ids) != 3 {
					t.Error(ids, err)
				}
			}
		}()
	}
	wait.Wait()
}

func TestTokens(t *testing.T) {
	m := open(t, path())
	ids, err := m.Tokenize("Hello, world!")
	if err != nil || !reflect.DeepEqual(ids, []int32{101, 7592, 1010, 2088, 999, 102}) {
		t.Fatal(ids, err)
	}
	if text, err := m.Detokenize(ids); err != nil || text != "hello, world!" {
		t.Error(text, err)
	}
	if ids, err := m.Tokenize(""); err != nil || len(ids) != 2 {
		t.Error(ids, err)
	}
	if text, err := m.Detokenize(nil); err != nil || text != "" {
		t.Error(text, err)
	}
	long, err := m.Tokenize(strings.Repeat("a ", 5000)) // more ids than are guessed
	if err != nil || len(long) != 5002 {
		t.Fatal(len(long), err)
	}
	if text, err := m.Detokenize(long); err != nil || len(text) != 9999 {
		t.Error(len(text), err)
	}
	ids, types, err := m.TokenizePair("Hello,", "world!")
	if err != nil || !reflect.DeepEqual(ids, []int32{101, 7592, 1010, 102, 2088, 999, 102}) ||
		!reflect.DeepEqual(types, []int32{0, 0, 0, 0, 1, 1, 1}) {
		t.Error(ids, types, err)
	}
}

func TestInfoAndMeta(t *testing.T) {
	m := open(t, path())
	if i := m.Info(); i.Layers != 6 || i.Heads != 12 || i.Width != 384 || i.Labels != 0 || i.Bytes < 1<<20 {
		t.Errorf("%+v", i)
	}
	if recipe, err := m.Meta("general.recipe"); err != nil || recipe != "int8" {
		t.Error(recipe, err)
	}
	_, err := m.Meta("none.such")
	wants(t, err, StatusArgument, "none.such")
	if labels, err := m.Labels(); err != nil || len(labels) != 0 {
		t.Error(labels, err)
	}
	if Version() == "" || ISANames()[0] != "ref" {
		t.Error(Version(), ISANames())
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	c := newContext(t, nil)
	_, err := c.Open("/nonexistent/x.qrn", nil)
	wants(t, err, StatusIO, "/nonexistent/x.qrn")
	_, err = c.Open("a\x00b", nil)
	wants(t, err, StatusArgument, "NUL")
	_, err = c.Open("", nil)
	wants(t, err, StatusIO, "no such file")
	_, err = c.Open(path(), &ModelOptions{MaxBytes: 1000})
	wants(t, err, StatusLimit, "1000")
	_, err = NewContext(&ContextOptions{ISA: "z80"})
	wants(t, err, StatusISA, "ref")
	_, err = NewContext(&ContextOptions{Threads: -1})
	wants(t, err, StatusArgument, "-1 threads")
	m := open(t, path())
	_, err = session(t, m, nil).Classify(background, "no head")
	wants(t, err, StatusTask, "no classification head")
	_, err = m.NewSession(&SessionOptions{Pool: 99})
	wants(t, err, StatusArgument, "pool")
	if StatusTask != 15 || StatusIO.String() == "" {
		t.Error("statuses are not those of quern.h")
	}
}

func TestCancel(t *testing.T) {
	s := session(t, open(t, path()), nil)
	texts := make([]string, 2000)
	for i := range texts {
		texts[i] = strings.Repeat("a text that takes its time ", 20)
	}
	ctx, cancel := context.WithTimeout(background, 30*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := s.Embed(ctx, texts...); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Error("cancelled after", took)
	}
	if _, err := s.Embed(ctx, "a context that is over"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	embed(t, s, "the next call runs")
	// A cancel that comes when its call is done does not end the next one.
	for i := 0; i < 50; i++ {
		ctx, cancel := context.WithCancel(background)
		time.AfterFunc(time.Duration(i)*100*time.Microsecond, cancel)
		if _, err := s.Embed(ctx, "short"); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancel()
		embed(t, s, "short")
	}
}

func TestClosingInAnyOrder(t *testing.T) {
	c := newContext(t, nil)
	m, err := c.Open(path(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := session(t, m, nil)
	freed := make(chan string, 3)
	for _, x := range []struct {
		name string
		ref  *counted
	}{{"context", &c.ref}, {"model", &m.ref}, {"session", &s.ref}} {
		x, free := x, x.ref.free
		x.ref.free = func() { freed <- x.name; free() }
	}
	c.Close()
	m.Close()
	embed(t, s, "what is in use stays")
	if _, err := m.Tokenize("closed"); err != ErrClosed {
		t.Error(err)
	}
	if _, err := c.Open(path(), nil); err != ErrClosed {
		t.Error(err)
	}
	if _, err := m.NewSession(nil); err != ErrClosed {
		t.Error(err)
	}
	s.Close()
	s.Close()
	if _, err := s.Embed(background, "closed"); err != ErrClosed {
		t.Error(err)
	}
	close(freed) // closing is at once
	for _, want := range []string{"session", "model", "context"} {
		if got := <-freed; got != want {
			t.Errorf("%q was freed, not %s", got, want)
		}
	}
}

func TestForgottenOnesAreCollected(t *testing.T) {
	freed := make(chan string, 3)
	func() {
		c, err := NewContext(&ContextOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Open(path(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := m.NewSession(nil)
		if err != nil {
			t.Fatal(err)
		}
		// Each hook may hold its free function alone: holding the object would keep it.
		hook := func(name string, ref *counted) {
			free := ref.free
			ref.free = func() { freed <- name; free() }
		}
		hook("context", &c.ref)
		hook("model", &m.ref)
		hook("session", &s.ref)
		embed(t, s, "forgotten")
	}()
	deadline := time.After(20 * time.Second)
	for _, want := range []string{"session", "model", "context"} {
		for got := ""; got == ""; {
			runtime.GC()
			select {
			case got = <-freed:
				if got != want {
					t.Errorf("%s was freed, not %s", got, want)
				}
			case <-time.After(10 * time.Millisecond):
			case <-deadline:
				t.Fatalf("the %s is never freed", want)
			}
		}
	}
}

// classifier writes a BERT of one layer with three classes as a Hugging Face directory; weights are random, seeded by the
// tensors' names.
func classifier(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	const d, ffn, labels = 16, 32, 3
	vocab := []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fair", "a", "b"}
	shapes := map[string][]int{"classifier.weight": {labels, d}, "classifier.bias": {labels},
		"bert.pooler.dense.weight": {d, d}, "bert.pooler.dense.bias": {d},
		"bert.embeddings.word_embeddings.weight":       {len(vocab), d},
		"bert.embeddings.position_embeddings.weight":   {32, d},
		"bert.embeddings.token_type_embeddings.weight": {2, d}}
	for _, name := range []string{"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"} {
		shapes["bert.encoder.layer.0."+name+".weight"] = []int{d, d}
		shapes["bert.encoder.layer.0."+name+".bias"] = []int{d}
	}
	shapes["bert.encoder.layer.0.intermediate.dense.weight"] = []int{ffn, d}
	shapes["bert.encoder.layer.0.intermediate.dense.bias"] = []int{ffn}
	shapes["bert.encoder.layer.0.output.dense.weight"] = []int{d, ffn}
	shapes["bert.encoder.layer.0.output.dense.bias"] = []int{d}
	for _, name := range []string{"embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"} {
		shapes["bert."+name+".LayerNorm.weight"] = []int{d}
		shapes["bert."+name+".LayerNorm.bias"] = []int{d}
	}
	header, data := map[string]interface{}{}, []byte{}
	for name, shape := range shapes {
		n, begin, random := 1, len(data), rand.New(rand.NewSource(int64(crc32.ChecksumIEEE([]byte(name)))))
		for _, k := range shape {
			n *= k
		}
		for i := 0; i < n; i++ {
			x := random.Float64() - 0.5
			if strings.HasSuffix(name, "LayerNorm.weight") {
				x++
			}
			var word [4]byte
			binary.LittleEndian.PutUint32(word[:], math.Float32bits(float32(x)))
			data = append(data, word[:]...)
		}
		header[name] = map[string]interface{}{"dtype": "F32", "shape": shape, "data_offsets": []int{begin, len(data)}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(text)))
	config := `{"model_type":"bert","architectures":["BertForSequenceClassification"],"hidden_size":16,"num_hidden_layers":1,
		"num_attention_heads":2,"intermediate_size":32,"hidden_act":"gelu","max_position_embeddings":32,"type_vocab_size":2,
		"vocab_size":10,"layer_norm_eps":1e-12,"pad_token_id":0,"id2label":{"0":"poor","1":"fair","2":"fine"}}`
	for name, bytes := range map[string][]byte{"config.json": []byte(config),
		"vocab.txt":             []byte(strings.Join(vocab, "\n") + "\n"),
		"tokenizer_config.json": []byte(`{"do_lower_case":true,"tokenizer_class":"BertTokenizer"}`),
		"model.safetensors":     append(append(length[:], text...), data...)} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestQuantizeAndClassify(t *testing.T) {
	c := newContext(t, nil)
	file := filepath.Join(t.TempDir(), "classifier.qrn")
	_, err := c.Quantize(background, classifier(t), file, &QuantizeOptions{Recipe: "int9"})
	wants(t, err, StatusUnsupported, "int8")
	if _, err := c.Quantize(background, classifier(t), file, &QuantizeOptions{Recipe: "float"}); err != nil {
		t.Fatal(err)
	}
	m := open(t, file)
	if labels, err := m.Labels(); err != nil || !reflect.DeepEqual(labels, []string{"poor", "fair", "fine"}) {
		t.Error(labels, err)
	}
	s := session(t, m, nil)
	classes, err := s.Classify(background, "good", "bad a b", "")
	if err != nil || len(classes) != 3 {
		t.Fatal(classes, err)
	}
	for i, class := range classes {
		sum, best := float32(0), 0
		for k, p := range class.Probabilities {
			sum += p
			if p > class.Probabilities[best] {
				best = k
			}
		}
		if len(class.Logits) != 3 || sum < 0.999 || sum > 1.001 || class.Label != best {
			t.Errorf("%d: %+v", i, class)
		}
	}
	if reflect.DeepEqual(classes[0], classes[1]) {
		t.Error("all texts alike")
	}
	pairs, err := s.ClassifyPairs(background, [2]string{"good", "bad"}, [2]string{"bad", "good"})
	if err != nil || len(pairs) != 2 || reflect.DeepEqual(pairs[0], pairs[1]) {
		t.Error(pairs, err)
	}
	_, err = s.Embed(background, "no embedder")
	wants(t, err, StatusTask, "pooling")
	if rows := embed(t, session(t, m, &SessionOptions{Pool: PoolMean}), "pooled by choice"); len(rows[0]) != 16 {
		t.Error(len(rows[0]))
	}
}

func TestQuantizeOptions(t *testing.T) {
	c, source, dir := newContext(t, nil), classifier(t), t.TempDir()
	file, texts, report := filepath.Join(dir, "static.qrn"), filepath.Join(dir, "texts.txt"), filepath.Join(dir, "report")
	if err := os.WriteFile(texts, []byte(strings.Repeat("good bad\nbad a b\n", 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := c.Quantize(background, source, file, &QuantizeOptions{Recipe: "mixed"})
	wants(t, err, StatusArgument, "calibrate")
	parts := map[string]bool{}
	o := &QuantizeOptions{Recipe: "mixed", Calibrate: texts, Rows: 7, Seed: 3, Report: report,
		Progress: func(done, total uint64, what string) { parts[what] = done <= total }}
	result, err := c.Quantize(background, source, file, o)
	if err != nil || result.SourceBytes == 0 || result.WorstWeightError <= 0 || result.Loss != 0 || !parts["calibration"] {
		t.Fatal(result, parts, err)
	}
	if info, err := os.Stat(file); err != nil || uint64(info.Size()) != result.Bytes {
		t.Error(info, err)
	}
	var about struct {
		Calibration struct{ Rows, Seed int }
	}
	text, err := os.ReadFile(filepath.Join(report, "report.json"))
	if err != nil || json.Unmarshal(text, &about) != nil || about.Calibration.Rows != 7 || about.Calibration.Seed != 3 {
		t.Error(about, err)
	}
	result, err = c.Quantize(background, source, "", &QuantizeOptions{Recipe: "auto", Calibrate: texts, MaxLoss: 1, DryRun: true})
	if err != nil || result.Loss <= 0 {
		t.Error(result, err)
	}
	_, err = c.Quantize(background, source, file, &QuantizeOptions{MaxLoss: 2})
	wants(t, err, StatusArgument, "max_loss")
	_, err = c.Quantize(background, source, file, &QuantizeOptions{MaxBytes: 100})
	wants(t, err, StatusLimit, "100")
	ended, cancel := context.WithCancel(background)
	cancel()
	if _, err = c.Quantize(ended, source, file, nil); err != context.Canceled {
		t.Error(err)
	}
}
