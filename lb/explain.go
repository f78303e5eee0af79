package lb

import (
	"cmp"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"minicloud.internal/kit"
	routing "minicloud.internal/lb/route"
	"minicloud.internal/lb/upstream"
)

// An explanation is the answer of GET /explain: what becomes of a request, step
// by step. What does not apply is absent.
type explanation struct {
	Host string `json:"host"`
	Path string `json:"path"` // as received
	// NormalPath is what routes are compared with; absent where it is refused.
	NormalPath string        `json:"normal_path,omitempty"`
	Route      string        `json:"route,omitempty"`
	Why        string        `json:"why"`
	Others     []otherRoute  `json:"others"` // that match too
	Redirect   *redirect     `json:"redirect,omitempty"`
	Forwarded  *forwarded    `json:"forwarded,omitempty"`
	Pools      []poolChoices `json:"pools,omitempty"`
}

type otherRoute struct {
	Route  string `json:"route"`
	WhyNot string `json:"why_not"`
}

type redirect struct {
	Status   int    `json:"status"`
	Location string `json:"location"`
}

// forwarded is what a target gets.
type forwarded struct {
	Host            string            `json:"host"`
	Path            string            `json:"path"` // with the query
	RequestHeaders  map[string]string `json:"request_headers,omitempty"`
	ResponseHeaders map[string]string `json:"response_headers,omitempty"` // for the client
}

// poolChoices is who of a pool may get the request.
type poolChoices struct {
	poolStatus
	// HashedBy is what the balance hash goes by: "client" or the name of a field.
	HashedBy string `json:"hashed_by,omitempty"`
	// Chosen is the target that the hash of the given client leads to now.
	Chosen  string         `json:"chosen,omitempty"`
	Targets []targetChoice `json:"targets"`
}

type targetChoice struct {
	upstream.Status
	Candidate bool `json:"candidate"` // requests are given to it now
}

func (lb *LoadBalancer) serveExplain(w http.ResponseWriter, r *http.Request) *kit.Problem {
	query := r.URL.Query()
	u, err := url.Parse(query.Get("url"))
	if query.Get("url") == "" || err != nil || u.Opaque != "" || u.Host == "" && !strings.HasPrefix(u.Path, "/") {
		return kit.Problemf(http.StatusBadRequest, "the parameter url is %.200q, expected that of a request, percent-encoded, as in /explain?url=http://example.com/api", query.Get("url"))
	}
	var client netip.Addr
	if text := query.Get("client"); text != "" {
		if client, err = netip.ParseAddr(text); err != nil {
			return kit.Problemf(http.StatusBadRequest, "the parameter client is %.100q, expected an address, as in 192.0.2.1", text)
		}
	}
	kit.WriteJSON(w, http.StatusOK, lb.explain(u, client))
	return nil
}

// explain says what becomes of a request for u from a client, which may be the
// zero value.
func (lb *LoadBalancer) explain(u *url.URL, client netip.Addr) *explanation {
	x := &explanation{Host: u.Host, Path: u.EscapedPath(), Others: []otherRoute{}}
	found := lb.now.Load().table.Explain(x.Host, cmp.Or(x.Path, "/"))
	x.NormalPath, x.Why = found.Normal, found.Why
	if x.Path == defaultEndpoint {
		x.Why = "GET and HEAD are answered by the load balancer, for itself. Any other method: " + found.Why
	}
	for _, o := range found.Others {
		x.Others = append(x.Others, otherRoute{o.Route.Name, o.Why})
	}
	r := found.Route
	if r == nil {
		return x
	}
	x.Route = r.Name
	if r.RedirectStatus != 0 {
		location, ok := r.AppendLocation(nil, []byte(u.Host), []byte(x.Path), []byte(u.RawQuery))
		x.Redirect = &redirect{r.RedirectStatus, string(location)}
		if !ok {
			x.Redirect.Status, x.Redirect.Location = http.StatusBadRequest, ""
		}
		return x
	}
	path := string(r.AppendPath(nil, []byte(x.Path)))
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	x.Forwarded = &forwarded{cmp.Or(r.RewriteHost, x.Host), path, r.Rule.RequestHeaders, r.Rule.ResponseHeaders}
	for i := range r.Choices() {
		x.Pools = append(x.Pools, choicesOf(&r.Choices()[i], client))
	}
	return x
}

func choicesOf(c *routing.Choice, client netip.Addr) poolChoices {
	p := poolChoices{poolStatus: statusOf(c)}
	candidates := c.Pool.Candidates()
	for _, t := range c.Pool.Targets() {
		p.Targets = append(p.Targets, targetChoice{t.Status(), slices.Contains(candidates, t)})
	}
	if p.Policy != upstream.Hash {
		return p
	}
	p.HashedBy = cmp.Or(c.Key.Header, hashClient)
	if c.Key.Header == "" && client.IsValid() {
		walk := c.Pool.Walk(routing.HashAddr(client.Unmap()))
		if t := walk.Next(); t != nil {
			p.Chosen = t.Address()
		}
	}
	return p
}
