package report

import (
	"fmt"
	"os"
)

// A Progress shows what is under way, where somebody looks. The zero value shows
// nothing.
type Progress struct{ terminal bool }

// NewProgress shows it on standard error, if that is a terminal.
func NewProgress() Progress {
	info, err := os.Stderr.Stat()
	return Progress{err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// Show replaces what was shown; the empty text leaves nothing.
func (p Progress) Show(format string, args ...any) {
	if p.terminal {
		fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
	}
}
