package lb

import (
	"net/http"

	"minicloud.internal/kit"
	routing "minicloud.internal/lb/route"
	"minicloud.internal/lb/upstream"
)

// AdminHandlers are the load balancer's own patterns on the admin listener:
//
//	GET /targets                     every target, and how it is
//	POST /targets/{address}/drain    keeps new requests from a target
//	POST /targets/{address}/enable   ends that
//	GET /routes                      every route, and its pools
//	GET /explain?url=…[&client=…]    what becomes of a request, and why
//
// All answer with JSON.
func (lb *LoadBalancer) AdminHandlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/targets":                  kit.Methods(map[string]kit.ProblemHandler{http.MethodGet: lb.serveTargets}),
		"/routes":                   kit.Methods(map[string]kit.ProblemHandler{http.MethodGet: lb.serveRoutes}),
		"/explain":                  kit.Methods(map[string]kit.ProblemHandler{http.MethodGet: lb.serveExplain}),
		"/targets/{address}/drain":  kit.Methods(map[string]kit.ProblemHandler{http.MethodPost: lb.order(lb.set.Drain)}),
		"/targets/{address}/enable": kit.Methods(map[string]kit.ProblemHandler{http.MethodPost: lb.order(lb.set.Enable)}),
	}
}

func (lb *LoadBalancer) serveTargets(w http.ResponseWriter, _ *http.Request) *kit.Problem {
	kit.WriteJSON(w, http.StatusOK, map[string]any{"targets": lb.set.Statuses()})
	return nil
}

// order has a target drained or enabled, and answers with how it is then.
func (lb *LoadBalancer) order(do func(address string) bool) kit.ProblemHandler {
	return func(w http.ResponseWriter, r *http.Request) *kit.Problem {
		address := r.PathValue("address")
		if do(address) {
			for _, s := range lb.set.Statuses() {
				if canonical(s.Address) == canonical(address) {
					kit.WriteJSON(w, http.StatusOK, s)
					return nil
				}
			}
		}
		return kit.Problemf(http.StatusNotFound, "there is no target %.100q; GET /targets names them", address)
	}
}

// A routeStatus is one route in the answer of GET /routes. The one for
// everything else comes last, without host and path.
type routeStatus struct {
	Name     string       `json:"name"`
	Host     string       `json:"host,omitempty"`
	Path     string       `json:"path,omitempty"`
	Pools    []poolStatus `json:"pools,omitempty"`
	Redirect string       `json:"redirect,omitempty"`
	// Targets are those of all pools, and Healthy the candidates among them.
	Targets []string `json:"targets"`
	Healthy []string `json:"healthy"`
}

type poolStatus struct {
	Name   string          `json:"name"`
	Weight int             `json:"weight"`
	Policy upstream.Policy `json:"policy"`
	Queue  int             `json:"queue"` // requests that wait
}

func statusOf(c *routing.Choice) poolStatus {
	return poolStatus{c.Pool.Name(), c.Weight, c.Pool.Policy(), c.Pool.Waiting()}
}

func (lb *LoadBalancer) serveRoutes(w http.ResponseWriter, _ *http.Request) *kit.Problem {
	all := []routeStatus{}
	for _, r := range lb.now.Load().table.Routes() {
		s := routeStatus{Name: r.Name, Host: r.Rule.Host, Path: r.Rule.Path, Redirect: r.Rule.Redirect, Targets: []string{}, Healthy: []string{}}
		for _, c := range r.Choices() {
			s.Pools = append(s.Pools, statusOf(&c))
			s.Targets = append(s.Targets, addresses(c.Pool.Targets())...)
			s.Healthy = append(s.Healthy, addresses(c.Pool.Candidates())...)
		}
		all = append(all, s)
	}
	kit.WriteJSON(w, http.StatusOK, map[string]any{"routes": all})
	return nil
}

func addresses(targets []*upstream.Target) []string {
	all := make([]string, len(targets))
	for i, t := range targets {
		all[i] = t.Address()
	}
	return all
}
