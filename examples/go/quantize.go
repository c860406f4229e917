package quern

/*
#include <quern.h>
#include <stdint.h>
#include <stdlib.h>

int32_t quernGoProgress(uintptr_t user, uint64_t done, uint64_t total, char *what);

// A handle is a small number, which Go must not meet as a pointer.
static int32_t progress(void *user, uint64_t done, uint64_t total, const char *what) {
  return quernGoProgress((uintptr_t)user, done, total, (char *)what);
}
static void report_to(quern_quantize_options *o, uintptr_t handle) {
  o->progress = progress;
  o->progress_user = (void *)handle;
}
*/
import "C"

import (
	"context"
	"runtime/cgo"
	"unsafe"
)

// QuantizeOptions are those of Quantize; nil and zero values are the defaults of quern.h.
type QuantizeOptions struct {
	Recipe    string // "": "int8"; a preset's name, or the path of a JSON recipe
	Calibrate string // file of texts, for recipes with static ranges or calibrated rounding
	Rows      uint32 // drawn from it by Seed; 0: 256
	Seed      uint32
	MaxLoss   float64 // of recipe "auto"; 0: as the recipe says
	Report    string  // folder for report.json and report.html
	MaxBytes  uint64  // most bytes of memory and of any source file; 0: no limit
	DryRun    bool    // do everything but write the file
	// Progress is told how far the work is; done and total start anew with each part of it, what.
	Progress func(done, total uint64, what string)
}

// QuantizeResult is what a model became.
type QuantizeResult struct {
	SourceBytes, Bytes uint64  // weights of the source; the file
	WorstWeightError   float64 // largest over the linear operators: rms(w - quantized w) / rms(w)
	Loss               float64 // of recipes with max_loss: what the outputs lose on the calibration text; else 0
}

// quantizing is what the library's callback gets back to.
type quantizing struct {
	ctx      context.Context
	progress func(done, total uint64, what string)
}

//export quernGoProgress
func quernGoProgress(user C.uintptr_t, done, total C.uint64_t, what *C.char) C.int32_t {
	q := cgo.Handle(user).Value().(*quantizing)
	if q.ctx.Err() != nil {
		return 1
	}
	if q.progress != nil {
		q.progress(uint64(done), uint64(total), C.GoString(what))
	}
	return 0
}

// Quantize makes the model file dst of the Hugging Face directory src. It ends early, with ctx.Err(), when ctx does; dst
// is replaced only when all went well.
func (c *Context) Quantize(ctx context.Context, src, dst string, o *QuantizeOptions) (*QuantizeResult, error) {
	if err := c.ref.acquire(); err != nil {
		return nil, err
	}
	defer c.ref.release()
	if o == nil {
		o = &QuantizeOptions{}
	}
	var co C.quern_quantize_options
	C.quern_quantize_options_init(&co, C.uint32_t(unsafe.Sizeof(co)))
	from, err := cString(src)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(from))
	var to *C.char
	for _, s := range []struct {
		at   **C.char
		text string
	}{{&to, dst}, {&co.recipe, o.Recipe}, {&co.calibration_path, o.Calibrate}, {&co.report_path, o.Report}} {
		if *s.at, err = cName(s.text); err != nil {
			return nil, err
		}
		defer C.free(unsafe.Pointer(*s.at))
	}
	co.seed, co.calibration_rows = C.uint32_t(o.Seed), C.uint32_t(o.Rows)
	co.max_loss, co.max_bytes = C.double(o.MaxLoss), C.uint64_t(o.MaxBytes)
	if o.DryRun {
		co.flags = C.QUERN_DRY_RUN
	}
	handle := cgo.NewHandle(&quantizing{ctx, o.Progress})
	defer handle.Delete()
	C.report_to(&co, C.uintptr_t(handle))
	r := C.quern_quantize_result{size: C.uint32_t(unsafe.Sizeof(C.quern_quantize_result{}))}
	if status := C.quern_quantize_file(c.c, from, to, &co, &r); status != C.QUERN_OK {
		if err := ctx.Err(); err != nil && status == C.QUERN_E_CANCELLED {
			return nil, err
		}
		return nil, c.failed(status)
	}
	return &QuantizeResult{uint64(r.source_bytes), uint64(r.bytes), float64(r.worst_weight_error), float64(r.loss)}, nil
}
