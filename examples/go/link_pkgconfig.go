//go:build quern_pkgconfig

package quern

// An installed library, as pkg-config tells.

// #cgo pkg-config: quern
import "C"
