package lb

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
)

func TestRoundRobin(t *testing.T) {
	three := []string{"a", "b", "c"}
	for name, c := range map[string]struct {
		healthy []string
		turn    uint64
		limit   int
		want    []string
	}{
		"the first turn begins at the first":       {three, 0, 3, []string{"a", "b", "c"}},
		"the next turn begins at the next":         {three, 1, 3, []string{"b", "c", "a"}},
		"turns go round":                           {three, 5, 3, []string{"c", "a", "b"}},
		"the limit cuts the order":                 {three, 2, 2, []string{"c", "a"}},
		"nobody is tried twice":                    {three, 0, 9, []string{"a", "b", "c"}},
		"nobody healthy, nobody tried":             {nil, 7, 3, nil},
		"the turn may be as large as its type can": {three, 1<<64 - 1, 3, []string{"a", "b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := slices.Collect(roundRobin(c.healthy, c.turn, c.limit)); !slices.Equal(got, c.want) {
				t.Errorf("got %v, expected %v", got, c.want)
			}
		})
	}
	t.Run("the neighbour of a dead target gets no double share", func(t *testing.T) {
		share := map[string]int{}
		for turn := range uint64(300) {
			for first := range roundRobin([]string{"a", "c", "d"}, turn, 3) { // b is down
				share[first]++
				break
			}
		}
		if share["a"] != 100 || share["c"] != 100 || share["d"] != 100 {
			t.Errorf("the shares are %v, expected 100 each", share)
		}
	})
}

func TestDecide(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		o      outcome
		want   verdict
	}{
		"no connection: any method goes on":                     {"POST", outcome{replay: true}, nextTarget},
		"no connection in time: any method goes on":             {"POST", outcome{replay: true, timedOut: true}, nextTarget},
		"no connection and half the body gone: the end":         {"POST", outcome{}, giveUp},
		"nothing sent on a fresh connection: any method":        {"POST", outcome{connected: true, replay: true}, nextTarget},
		"nothing sent on a reused connection: a fresh one":      {"POST", outcome{connected: true, reused: true, replay: true}, sameTarget},
		"sent: GET goes on":                                     {"GET", outcome{connected: true, sent: true, replay: true}, nextTarget},
		"sent: HEAD goes on":                                    {"HEAD", outcome{connected: true, sent: true, replay: true}, nextTarget},
		"sent: PUT with its body kept goes on":                  {"PUT", outcome{connected: true, sent: true, replay: true}, nextTarget},
		"sent: PUT with its body gone is the end":               {"PUT", outcome{connected: true, sent: true}, giveUp},
		"sent: DELETE goes on":                                  {"DELETE", outcome{connected: true, sent: true, replay: true}, nextTarget},
		"sent: OPTIONS goes on":                                 {"OPTIONS", outcome{connected: true, sent: true, replay: true}, nextTarget},
		"sent: TRACE goes on":                                   {"TRACE", outcome{connected: true, sent: true, replay: true}, nextTarget},
		"sent: POST is the end":                                 {"POST", outcome{connected: true, sent: true, replay: true}, giveUp},
		"sent: PATCH is the end":                                {"PATCH", outcome{connected: true, sent: true, replay: true}, giveUp},
		"sent: an unknown method is the end":                    {"BREW", outcome{connected: true, sent: true, replay: true}, giveUp},
		"sent on a reused connection: GET gets a fresh one":     {"GET", outcome{connected: true, reused: true, sent: true, replay: true}, sameTarget},
		"sent on a reused connection: POST is the end":          {"POST", outcome{connected: true, reused: true, sent: true, replay: true}, giveUp},
		"sent and not answered in time: even GET is the end":    {"GET", outcome{connected: true, sent: true, timedOut: true, replay: true}, giveUp},
		"after the answer has begun nothing is repeated":        {"GET", outcome{connected: true, sent: true, started: true, replay: true}, giveUp},
		"begun on a reused connection: nothing is repeated too": {"GET", outcome{connected: true, reused: true, sent: true, started: true, replay: true}, giveUp},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decide(c.method, c.o); got != c.want {
				t.Errorf("got %d, expected %d", got, c.want)
			}
		})
	}
}

func TestCondition(t *testing.T) {
	for name, c := range map[string]struct {
		t    thresholds
		from state
		see  []evidence
		want state
	}{
		"the first good probe is enough, whatever rise is":  {thresholds{2, 3}, unknown, []evidence{good}, up},
		"the first bad probe is enough":                     {thresholds{2, 1}, unknown, []evidence{bad}, down},
		"the first silence is enough, whatever fall is":     {thresholds{3, 1}, unknown, []evidence{silent}, down},
		"doubt stays until a probe":                         {thresholds{2, 1}, unknown, []evidence{broken, broken}, unknown},
		"one bad answer takes a target down":                {thresholds{3, 1}, up, []evidence{bad}, down},
		"one silence does not":                              {thresholds{2, 1}, up, []evidence{silent}, up},
		"silence in a row does":                             {thresholds{2, 1}, up, []evidence{silent, silent}, down},
		"silence with an answer in between does not":        {thresholds{2, 1}, up, []evidence{silent, good, silent}, up},
		"with fall at one a single silence does":            {thresholds{1, 1}, up, []evidence{silent}, down},
		"a cut connection is a doubt":                       {thresholds{2, 1}, up, []evidence{broken}, unknown},
		"a doubt is dispelled by one good probe":            {thresholds{2, 5}, up, []evidence{broken, good}, up},
		"a doubt and a silence make it down":                {thresholds{5, 1}, up, []evidence{broken, silent}, down},
		"what is down stays down at a cut connection":       {thresholds{2, 1}, down, []evidence{broken}, down},
		"one good probe brings it back":                     {thresholds{2, 1}, down, []evidence{good}, up},
		"where rise is two, one does not":                   {thresholds{2, 2}, down, []evidence{good}, down},
		"where rise is two, two in a row do":                {thresholds{2, 2}, down, []evidence{good, good}, up},
		"where rise is two, two with a silence between not": {thresholds{2, 2}, down, []evidence{good, silent, good}, down},
	} {
		t.Run(name, func(t *testing.T) {
			got := condition{state: c.from}
			for _, e := range c.see {
				got = got.next(e, c.t)
			}
			if got.state != c.want {
				t.Errorf("got %s, expected %s", got.state, c.want)
			}
		})
	}
}

func TestEvidence(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want evidence
	}{
		"a refused connection is bad":          {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, bad},
		"an unknown name is bad":               {&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, bad},
		"a name server in trouble is silence":  {&net.OpError{Op: "dial", Err: &net.DNSError{IsTemporary: true}}, silent},
		"a deadline is silence":                {dialError{context.DeadlineExceeded}, silent},
		"a timeout of the network is silence":  {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}, silent},
		"an unreachable host is bad":           {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, bad},
		"an answer that is not HTTP is bad":    {errors.New("malformed HTTP response"), bad},
		"a deadline on a connection is silent": {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, silent},
	} {
		t.Run(name, func(t *testing.T) {
			if got := evidenceOf(c.err); got != c.want {
				t.Errorf("evidenceOf(%v) = %d, expected %d", c.err, got, c.want)
			}
		})
	}
}
