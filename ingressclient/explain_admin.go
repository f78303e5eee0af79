package ingressclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// An admin is the admin listener of a part of the cloud. After one question that
// it does not answer it is asked nothing more. It is for one goroutine.
type admin struct {
	who     string // begins a sentence
	missing string // what is not explained without it
	setting setting
	address string        // host:port
	timeout time.Duration // of a question
	// answered says that it answered once, trouble why it is not asked any more.
	answered bool
	trouble  error
}

// maxAdminBody bounds an answer: a trace of 500 steps with all their records is
// smaller.
const maxAdminBody = 8 << 20

// A declined is an answer that gives a reason in place of what was asked for.
type declined struct{ detail string }

func (d *declined) Error() string { return d.detail }

// An account is what an admin listener tells. complete reports whether it is one:
// any JSON at all can be read into it.
type account interface{ complete() bool }

// get asks for path and reads the answer into what. The error is a *declined
// where the listener answers with a reason. After any other, trouble says why,
// unless it was ctx that ended.
func (a *admin) get(ctx context.Context, path string, query url.Values, what account) error {
	if a.trouble != nil {
		return a.trouble
	}
	err := a.ask(ctx, path+"?"+query.Encode(), what)
	_, declines := errors.AsType[*declined](err)
	switch {
	case err == nil, declines:
		a.answered = true
	case ended(ctx) == nil:
		a.trouble = err
	}
	return err
}

func (a *admin) ask(ctx context.Context, path string, what account) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.timeout, errConnectTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+path, nil)
	if err != nil {
		return fmt.Errorf("it cannot be asked: %w", err)
	}
	// No proxy of the environment, and no redirect to anybody else.
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHead}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		if errors.Is(ended(ctx), errConnectTime) {
			return fmt.Errorf("no answer within %v", a.timeout)
		}
		return plain(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminBody+1))
	switch {
	case err != nil && errors.Is(ended(ctx), errConnectTime):
		return fmt.Errorf("no whole answer within %v", a.timeout)
	case err != nil:
		return fmt.Errorf("its answer broke off: %w", plain(err))
	case len(body) > maxAdminBody:
		return fmt.Errorf("its answer is over %d MiB", maxAdminBody>>20)
	case resp.StatusCode != http.StatusOK:
		return refusal(resp, body)
	case json.Unmarshal(body, what) != nil || !what.complete():
		return errors.New("it answers with something else: another part may be listening there")
	}
	return nil
}

// refusal reads an error as RFC 9457 has it. A path that is not known, or an error
// in another form, is that of somebody else.
func refusal(resp *http.Response, body []byte) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	if resp.StatusCode == http.StatusNotFound || json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		return fmt.Errorf("it answers %s: another part may be listening there", resp.Status)
	}
	return &declined{problem.Detail}
}

// sentence says why the listener is not asked any more, and what to do; "" where
// nothing is wrong.
func (a *admin) sentence() string {
	if a.trouble == nil {
		return ""
	}
	return fmt.Sprintf(`%s %s cannot be asked (%v), so that %s: "make status" shows where it is, %s moves it, --%s or %s names another.`,
		a.who, a.address, a.trouble, a.missing, a.setting.portVariable(), a.setting.flag, a.setting.variable)
}
