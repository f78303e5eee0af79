package upstream

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestWalk(t *testing.T) {
	next := func(w *Walk) string {
		if t := w.Next(); t != nil {
			return t.Address()
		}
		return "nobody"
	}
	t.Run("it visits each healthy target once", func(t *testing.T) {
		for _, policy := range []Policy{"", RoundRobin, LeastConnections, RandomTwo, Hash} {
			cfg := of("a:1", "b:1", "c:1", "d:1")
			cfg.Pools[0].Policy = policy
			r := newRig(cfg)
			r.up("a:1", "b:1", "d:1")
			w := r.pool.Walk(42)
			got := []string{next(&w), next(&w), next(&w)}
			slices.Sort(got)
			if last := next(&w); fmt.Sprint(got) != "[a:1 b:1 d:1]" || last != "nobody" {
				t.Errorf("with %q it visited %v, then %s", policy, got, last)
			}
		}
	})
	t.Run("it passes over a target that went down, and finds one that came up, meanwhile", func(t *testing.T) {
		r := newRig(of("a:1", "b:1", "c:1"))
		r.up("a:1", "b:1")
		w := r.pool.Walk(0)
		first := next(&w)
		r.target("b:1").Observe(Refused, errors.New("refused"))
		r.up("c:1")
		if got := []string{first, next(&w), next(&w)}; fmt.Sprint(got) != "[a:1 c:1 nobody]" {
			t.Errorf("it visited %v", got)
		}
	})
	t.Run("it ends after twelve targets", func(t *testing.T) {
		var many []string
		for i := range 20 {
			many = append(many, fmt.Sprintf("t%d:1", i))
		}
		r := newRig(of(many...))
		r.up(many...)
		w := r.pool.Walk(0)
		for i := range maxTries {
			if next(&w) == "nobody" {
				t.Errorf("it ended after %d", i)
			}
		}
		if got, err := r.pool.Enter(&w, nil); next(&w) != "nobody" || !errors.Is(err, ErrNoTarget) {
			t.Errorf("then it went to %v, %v", got, err)
		}
	})
	t.Run("round robin gives the share of a full target to all others alike", func(t *testing.T) {
		cfg := of("a:1", "b:1", "c:1")
		cfg.Targets[0].MaxConnections = 1
		r := newRig(cfg)
		r.up("a:1", "b:1", "c:1")
		got := map[string]int{}
		for range 301 {
			w := r.pool.Walk(0)
			target, err := r.pool.Enter(&w, nil)
			if err != nil {
				t.Fatal(err)
			}
			got[target.Address()]++
		}
		if got["a:1"] != 1 || got["b:1"] != 150 || got["c:1"] != 150 {
			t.Errorf("the shares are %v", got)
		}
	})
}

func TestFailOpen(t *testing.T) {
	cfg := of("a:1", "b:1", "c:1")
	cfg.Pools[0].FailOpen = true
	r := newRig(cfg)
	see := func(what, want string) {
		t.Helper()
		if got := addresses(r.pool.Candidates()); got != want {
			t.Errorf("%s: the candidates are %q, expected %q", what, got, want)
		}
	}
	r.up("a:1", "b:1", "c:1")
	r.target("a:1").Observe(Refused, errors.New("refused"))
	r.target("b:1").Observe(Refused, errors.New("refused"))
	see("while one is up", "c:1")
	r.target("c:1").Observe(Refused, errors.New("refused"))
	see("when none is", "a:1 b:1 c:1")
	r.Drain("b:1")
	see("but not who is drained", "a:1 c:1")
	r.up("c:1")
	see("once one is up again", "c:1")
}
