package kit

import (
	"io"
	"log/slog"
	"os"
	"time"
)

// NewLogger returns a logger that writes to w. Level and format take the values
// of [Common]; service is an attribute of every line.
func NewLogger(w io.Writer, level, format, service string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: l, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		// Durations as people write them ("1.5ms"), in JSON too, where slog
		// would print nanoseconds without a unit.
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().Round(time.Microsecond).String())
		}
		return a
	}}
	var h slog.Handler = slog.NewJSONHandler(w, opts)
	if format == "text" || format == "auto" && isTerminal(w) {
		h = slog.NewTextHandler(w, opts)
	}
	return slog.New(h).With("service", service)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
