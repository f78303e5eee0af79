package datastore

import (
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAStatementThatCannotBeInterruptedDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		s, err := New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		var clients sync.WaitGroup
		end := make(chan struct{})
		clients.Go(func() { <-end }) // a session that heeds nothing
		start := time.Now()
		s.drain(&clients)
		if took, want := time.Since(start), cfg.DrainTimeout+closing+lastWait; took != want {
			t.Errorf("the drain took %s, expected %s", took, want)
		}
		close(end)
		clients.Wait()
	})
}
