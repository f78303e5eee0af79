package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestDecide(t *testing.T) {
	for name, c := range map[string]struct {
		idempotent bool
		o          Outcome
		want       Verdict
	}{
		"no connection: any method goes on":                         {false, Outcome{Replay: true}, NextTarget},
		"no connection in time: any method goes on":                 {false, Outcome{Replay: true, TimedOut: true}, NextTarget},
		"no connection and half the body gone: the end":             {false, Outcome{}, GiveUp},
		"nothing sent on a fresh connection: any method":            {false, Outcome{Connected: true, Replay: true}, NextTarget},
		"nothing sent on a reused connection: a fresh one":          {false, Outcome{Connected: true, Reused: true, Replay: true}, SameTarget},
		"sent: what is idempotent goes on":                          {true, Outcome{Connected: true, Sent: true, Replay: true}, NextTarget},
		"sent: even so, with its body gone is the end":              {true, Outcome{Connected: true, Sent: true}, GiveUp},
		"sent: what is not idempotent is the end":                   {false, Outcome{Connected: true, Sent: true, Replay: true}, GiveUp},
		"sent on a reused connection: idempotent, on a fresh one":   {true, Outcome{Connected: true, Reused: true, Sent: true, Replay: true}, SameTarget},
		"answered wrongly on a reused connection: the next target":  {true, Outcome{Connected: true, Reused: true, Sent: true, Answered: true, Replay: true}, NextTarget},
		"sent on a reused connection: otherwise the end":            {false, Outcome{Connected: true, Reused: true, Sent: true, Replay: true}, GiveUp},
		"sent and not answered in time: idempotent or not, the end": {true, Outcome{Connected: true, Sent: true, TimedOut: true, Replay: true}, GiveUp},
		"after the answer has begun nothing is repeated":            {true, Outcome{Connected: true, Sent: true, Started: true, Replay: true}, GiveUp},
		"begun on a reused connection: nothing is repeated too":     {true, Outcome{Connected: true, Reused: true, Sent: true, Started: true, Replay: true}, GiveUp},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Decide(c.idempotent, c.o); got != c.want {
				t.Errorf("got %d, expected %d", got, c.want)
			}
		})
	}
}

func TestCondition(t *testing.T) {
	for name, c := range map[string]struct {
		fall, rise int
		from       State
		see        []Evidence
		want       State
	}{
		"the first good probe is enough, whatever rise is":  {2, 3, Unknown, []Evidence{Good}, Up},
		"the first bad probe is enough":                     {2, 1, Unknown, []Evidence{Refused}, Down},
		"the first silence is enough, whatever fall is":     {3, 1, Unknown, []Evidence{Silent}, Down},
		"doubt stays until a probe":                         {2, 1, Unknown, []Evidence{Broken, Broken}, Unknown},
		"one bad answer takes a target down":                {3, 1, Up, []Evidence{Refused}, Down},
		"one silence does not":                              {2, 1, Up, []Evidence{Silent}, Up},
		"silence in a row does":                             {2, 1, Up, []Evidence{Silent, Silent}, Down},
		"silence with an answer in between does not":        {2, 1, Up, []Evidence{Silent, Good, Silent}, Up},
		"with fall at one a single silence does":            {1, 1, Up, []Evidence{Silent}, Down},
		"a cut connection is a doubt":                       {2, 1, Up, []Evidence{Broken}, Unknown},
		"a doubt is dispelled by one good probe":            {2, 5, Up, []Evidence{Broken, Good}, Up},
		"a doubt and a silence make it down":                {5, 1, Up, []Evidence{Broken, Silent}, Down},
		"what is down stays down at a cut connection":       {2, 1, Down, []Evidence{Broken}, Down},
		"what is down stays down in silence":                {2, 1, Down, []Evidence{Silent}, Down},
		"one good probe brings it back":                     {2, 1, Down, []Evidence{Good}, Up},
		"where rise is two, one does not":                   {2, 2, Down, []Evidence{Good}, Down},
		"where rise is two, two in a row do":                {2, 2, Down, []Evidence{Good, Good}, Up},
		"where rise is two, two with a silence between not": {2, 2, Down, []Evidence{Good, Silent, Good}, Down},
	} {
		t.Run(name, func(t *testing.T) {
			got := condition{state: c.from}
			for _, e := range c.see {
				got = got.next(e, c.rise, c.fall)
			}
			if got.state != c.want {
				t.Errorf("got %s, expected %s", got.state, c.want)
			}
		})
	}
}

func TestEvidenceOf(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want Evidence
	}{
		"a refused connection is bad":          {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, Refused},
		"an unknown name is bad":               {&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, Refused},
		"a name server in trouble is silence":  {&net.OpError{Op: "dial", Err: &net.DNSError{IsTemporary: true}}, Silent},
		"a deadline is silence":                {context.DeadlineExceeded, Silent},
		"a timeout of the network is silence":  {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}, Silent},
		"an unreachable host is bad":           {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, Refused},
		"an answer that is not HTTP is bad":    {errors.New("malformed HTTP response"), Refused},
		"a deadline on a connection is silent": {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, Silent},
	} {
		t.Run(name, func(t *testing.T) {
			if got := EvidenceOf(c.err); got != c.want {
				t.Errorf("EvidenceOf(%v) = %d, expected %d", c.err, got, c.want)
			}
		})
	}
}
