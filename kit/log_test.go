package kit

import (
	"context"
	"log/slog"
	"regexp"
	"testing"
	"time"
)

func TestNewLogger(t *testing.T) {
	for _, c := range []struct{ name, level, format, want string }{
		{"text has the service in each line", "info", "text", `^time=\S+ level=INFO msg="a line" service=queue took=1\.5ms err="two\\nlines"\n$`},
		{"JSON has a duration as people write it", "info", "json", `^\{"time":"[^"]+","level":"INFO","msg":"a line","service":"queue","took":"1\.5ms","err":"two\\nlines"\}\n$`},
		{"auto is JSON where it is no terminal", "info", "auto", `^\{"time"`},
		{"a level leaves out what is below", "warn", "text", `^$`},
		{"an unknown level is info", "loud", "text", `^time=`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l logs
			logger := NewLogger(&l, c.level, c.format, "queue")
			logger.Info("a line", "took", 1500*time.Microsecond+3, "err", "two\nlines")
			if !regexp.MustCompile(c.want).MatchString(l.String()) {
				t.Errorf("logged %q, want %s", l.String(), c.want)
			}
			if logger.Enabled(context.Background(), slog.LevelDebug) {
				t.Error("debug lines are on")
			}
		})
	}
}
