package lb

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics(t *testing.T) {
	_, one := backend(t, named("one"))
	s, gone := backend(t, named("gone"))
	s.Close()
	cfg := patient(one, gone)
	cfg.PathRoutes = []PathRoute{{Path: "/files", Address: gone}}
	lb, c := start(t, cfg), client(t)
	do(t, c, "PUT", lb.url("/api"), "four")
	do(t, c, "GET", lb.url("/files/a"), "")
	do(t, c, "GET", lb.url("/healthz"), "")
	lb.stop() // a request is counted at its end
	for _, m := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"requests_total", []string{"class", "2xx", "route", "default"}, 1},
		{"requests_total", []string{"class", "5xx", "route", "/files"}, 1},
		{"requests_total", []string{"class", "2xx", "route", "none"}, 1},
		{"request_duration_seconds", []string{"route", "default"}, 1},
		{"request_body_bytes_total", []string{"route", "default"}, 4},
		{"response_body_bytes_total", []string{"route", "default"}, 3},
		{"requests_in_flight", []string{"route", "default"}, 0},
		{"requests_in_flight", []string{"route", "/files"}, 0},
		{"target_requests_total", []string{"class", "2xx", "target", one}, 1},
		{"target_request_duration_seconds", []string{"target", one}, 1},
		{"target_request_body_bytes_total", []string{"target", one}, 4},
		{"target_response_body_bytes_total", []string{"target", one}, 3},
		{"target_in_flight", []string{"target", one}, 0},
		{"target_up", []string{"target", one}, 1},
		{"target_up", []string{"target", gone}, 0},
		{"target_draining", []string{"target", one}, 0},
		{"target_idle_connections", []string{"target", one}, 0},
		{"retries_total", []string{"target", gone}, 0},
		{"queue_waiting", []string{"pool", "default"}, 0},
		{"retries_denied_total", []string{"pool", "/files"}, 0},
		{"client_connections", nil, 0},
		{"client_connections_total", nil, 1},
		{"upstream_connections_total", []string{"from", "opened"}, 1},
		{"upstream_connections_total", []string{"from", "reused"}, 0},
		{"access_log_dropped_lines_total", nil, 0},
		{"reloads_total", []string{"result", "good"}, 0},
	} {
		t.Run(m.name+" "+strings.Join(m.labels, " ")+" counts", func(t *testing.T) {
			if got := lb.metric(t, m.name, m.labels...); got != m.want {
				t.Errorf("got %v, expected %v", got, m.want)
			}
		})
	}
	t.Run("names and helps are as Prometheus wants them", func(t *testing.T) {
		problems, err := testutil.GatherAndLint(lb.reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	})
}
