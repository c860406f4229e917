// Package quern is Quern for Go, by cgo.
//
// A Context holds threads and kernels, a Model is a mapped .qrn file, a Session is working memory. All three may be used
// from any number of goroutines at once: a context and a model serve calls side by side, a session one after another, so
// that goroutines that shall run in parallel take a session each. Close gives memory back at once; what is never closed
// goes with the garbage collector. The order of closing is free: what is still in use stays until it is not. Results are
// the same bytes on every CPU, thread count and batch.
package quern

/*
#include <quern.h>
#include <stdlib.h>
#include <string.h>

typedef struct keep {
  char *text;
  size_t cap;
} keep;
static void keep_message(void *user, int32_t level, const char *message) {
  const keep *k = user;
  size_t n = strlen(message);
  if (level != 0) return;
  if (n >= k->cap) n = k->cap - 1;
  memcpy(k->text, message, n);
  k->text[n] = 0;
}

// A context; where there is none, the message that would have gone to its log.
static quern_status context_create(quern_context **out, uint32_t threads, const char *isa, char *why, size_t cap) {
  quern_context_options o;
  keep k = {why, cap};
  quern_status status;
  why[0] = 0;
  quern_context_options_init(&o, sizeof o);
  o.threads = threads;
  o.isa = isa;
  status = quern_context_create(out, &o);
  if (status) {
    quern_context *again = NULL; // its log would outlive k
    o.log = keep_message;
    o.log_user = &k;
    if (!quern_context_create(&again, &o)) quern_context_free(again);
  }
  return status;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// Status is a number of quern.h; it never changes.
type Status int32

// The statuses of quern.h.
const (
	StatusArgument Status = iota + 1
	StatusMemory
	StatusIO
	StatusFormat
	StatusVersion
	StatusChecksum
	StatusSource
	StatusUnsupported
	StatusLimit
	StatusCapacity
	StatusCancelled
	StatusNonFinite
	StatusISA
	StatusSystem
	StatusTask
)

func (s Status) String() string { return C.GoString(C.quern_status_name(C.quern_status(s))) }

// Error is a failed call: its status, and a message that says what to do. Find it with errors.As.
type Error struct {
	Status  Status
	Message string
}

func (e *Error) Error() string { return e.Message }

// ErrClosed is what calls on a closed context, model or session return.
var ErrClosed = errors.New("quern: it is closed")

const messageBytes = 512

type message [messageBytes]C.char

// failed makes an error of a message, or of the status's name where that is empty.
func failed(status C.quern_status, m *message) error {
	text := C.GoString(&m[0])
	if text == "" {
		text = Status(status).String()
	}
	return &Error{Status(status), text}
}

// cString is text for C, to be freed.
func cString(text string) (*C.char, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, &Error{StatusArgument, fmt.Sprintf("%q holds a NUL byte", text)}
	}
	return C.CString(text), nil
}

// cName is the same, nil for "".
func cName(text string) (*C.char, error) {
	if text == "" {
		return nil, nil
	}
	return cString(text)
}

// counted frees something once its owner has closed it and no call uses it.
type counted struct {
	mutex  sync.Mutex
	uses   int
	closed bool
	free   func()
}

func (c *counted) acquire() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.uses++
	return nil
}

func (c *counted) release() {
	c.mutex.Lock()
	c.uses--
	last := c.closed && c.uses == 0
	c.mutex.Unlock()
	if last {
		c.free()
	}
}

func (c *counted) close() {
	c.mutex.Lock()
	last := !c.closed && c.uses == 0
	c.closed = true
	c.mutex.Unlock()
	if last {
		c.free()
	}
}

// ContextOptions are those of NewContext; nil and zero values are the defaults of quern.h.
type ContextOptions struct {
	Threads int    // 0: the CPUs this process may use
	ISA     string // "": the best kernel set this CPU has; else a name of ISANames
}

// Context is worker threads and a kernel set, for any number of models.
type Context struct {
	c   *C.quern_context
	ref counted
}

// NewContext starts the threads of a context.
func NewContext(o *ContextOptions) (*Context, error) {
	if o == nil {
		o = &ContextOptions{}
	}
	if o.Threads < 0 || o.Threads > 1024 {
		return nil, &Error{StatusArgument, fmt.Sprintf("%d threads: 0 to 1024 are possible", o.Threads)}
	}
	isa, err := cName(o.ISA)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(isa))
	var p *C.quern_context
	var why message
	if status := C.context_create(&p, C.uint32_t(o.Threads), isa, &why[0], messageBytes); status != C.QUERN_OK {
		return nil, failed(status, &why)
	}
	c := &Context{c: p}
	c.ref.free = func() { C.quern_context_free(p) } // without c, which a cycle would keep from its finalizer
	runtime.SetFinalizer(c, (*Context).Close)
	return c, nil
}

// Close ends the context once its models are closed too. It may be called again.
func (c *Context) Close() { c.ref.close() }

func (c *Context) failed(status C.quern_status) error {
	var why message
	C.quern_context_error(c.c, &why[0], messageBytes)
	return failed(status, &why)
}

// ISA is the name of the kernel set in use.
func (c *Context) ISA() string {
	if c.ref.acquire() != nil {
		return ""
	}
	defer c.ref.release()
	return C.GoString(C.quern_context_isa(c.c))
}

// Threads is the number of threads in use, the caller's included.
func (c *Context) Threads() int {
	if c.ref.acquire() != nil {
		return 0
	}
	defer c.ref.release()
	return int(C.quern_context_threads(c.c))
}

// Version is the library's, as "major.minor.patch".
func Version() string {
	v := uint32(C.quern_version())
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// ISANames are the kernel sets that this build and this CPU have, from least to most capable.
func ISANames() []string {
	var names []string
	for {
		name := C.quern_isa_name(C.uint32_t(len(names)))
		if name == nil {
			return names
		}
		names = append(names, C.GoString(name))
	}
}
