package cache

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	hits, misses, sets, deletes, leaseRefused prometheus.Counter
	evictedSize, evictedExpired               prometheus.Counter
	collectors                                []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "minicloud_cache_" + name, Help: help})
		m.collectors = append(m.collectors, c)
		return c
	}
	m.hits = counter("hits_total", "Reads that found their key.")
	m.misses = counter("misses_total", "Reads that did not find their key.")
	m.sets = counter("sets_total", "Entries stored.")
	m.deletes = counter("deletes_total", "Deletes, of a key that was there or not.")
	m.leaseRefused = counter("lease_refused_total", "Sets refused because their lease did not hold any more.")
	evicted := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "minicloud_cache_evictions_total", Help: "Entries that the cache removed by itself: size (for room) or expired.",
	}, []string{"cause"})
	m.evictedSize = evicted.WithLabelValues("size")
	m.evictedExpired = evicted.WithLabelValues("expired")
	m.collectors = append(m.collectors, evicted)
	return m
}

func (m *metrics) register(reg prometheus.Registerer, s *Store, cfg Config) error {
	gauge := func(name, help string, value func() float64) {
		m.collectors = append(m.collectors,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "minicloud_cache_" + name, Help: help}, value))
	}
	gauge("entries", "Entries held.", func() float64 { n, _ := s.Size(); return float64(n) })
	gauge("bytes", "Weight of the entries held: keys, values and overhead.", func() float64 { _, b := s.Size(); return float64(b) })
	gauge("max_bytes", "The bound on minicloud_cache_bytes.", func() float64 { return float64(cfg.MaxMemory) })
	gauge("leases", "Leases that are out.", func() float64 { return float64(s.Leases()) })
	for _, c := range m.collectors {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}
