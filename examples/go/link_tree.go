//go:build !quern_pkgconfig

package quern

// The archive of the tree that this package lies in; CGO_LDFLAGS=-L... names another folder, which is looked at first.

// #cgo CFLAGS: -I${SRCDIR}/../../include
// #cgo LDFLAGS: -L${SRCDIR}/../../build -l:libquern.a -lm -pthread
import "C"
