package lb

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"minicloud.internal/kit"
)

// AdminHandlers are the load balancer's own patterns on the admin listener:
// GET /targets, every target with its state, and GET /routes, every route with
// its pool. Both answer with JSON.
func (lb *LoadBalancer) AdminHandlers() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /targets": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			kit.WriteJSON(w, http.StatusOK, map[string]any{"targets": lb.monitor.statuses()})
		}),
		"GET /routes": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			kit.WriteJSON(w, http.StatusOK, map[string]any{"routes": lb.routes()})
		}),
	}
}

// A targetStatus is one target in the answer of GET /targets.
type targetStatus struct {
	Address             string     `json:"address"`
	HealthCheckEndpoint string     `json:"health_check_endpoint"`
	State               string     `json:"state"`           // "unknown", "up" or "down"
	Since               *time.Time `json:"since,omitempty"` // absent before the first probe
	LastError           string     `json:"last_error,omitempty"`
	InFlight            int64      `json:"in_flight"`
}

func (m *monitor) statuses() []targetStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]targetStatus, len(m.targets))
	for i, t := range m.targets {
		all[i] = targetStatus{
			Address:             t.address,
			HealthCheckEndpoint: t.endpoint,
			State:               t.condition.state.String(),
			LastError:           t.lastError,
			InFlight:            t.inFlight.Load(),
		}
		if !t.since.IsZero() {
			since := t.since
			all[i].Since = &since
		}
	}
	return all
}

// A routeStatus is one route in the answer of GET /routes. The one for
// everything else comes last, without a path.
type routeStatus struct {
	Path    string   `json:"path,omitempty"`
	Targets []string `json:"targets"`
	Healthy []string `json:"healthy"`
}

func (lb *LoadBalancer) routes() []routeStatus {
	var all []routeStatus
	for _, key := range slices.Sorted(maps.Keys(lb.table.routes)) {
		r := lb.table.routes[key]
		all = append(all, routeStatus{r.name, addresses(r.pool.targets), addresses(r.pool.snapshot.Load().healthy)})
	}
	rest := lb.table.fallback.pool
	return append(all, routeStatus{"", addresses(rest.targets), addresses(rest.snapshot.Load().healthy)})
}

func addresses(targets []*target) []string {
	all := make([]string, len(targets))
	for i, t := range targets {
		all[i] = t.address
	}
	return all
}
