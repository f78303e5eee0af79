package upstream

import (
	"net/netip"
	"slices"
)

const (
	// forgotten is how many probes in a row may not lead to one of several
	// addresses of a name until it is taken for gone.
	forgotten = 16
	// maxGone is how many addresses are remembered as gone.
	maxGone = 16
)

// whereabouts is where a target's name leads, as its probes found it. A name
// that leads to a new address has moved, and the one before is gone at once. But
// if it leads to one that was gone, the name has several and they take turns:
// from then on each stays until no probe has led there for a while.
type whereabouts struct {
	here   []sighting       // the latest is the last
	gone   []netip.AddrPort // the latest is the last
	probes int
}

type sighting struct {
	addr  netip.AddrPort
	probe int // the last that led there
}

// latest returns where the last probe was led, or the zero value.
func (w *whereabouts) latest() netip.AddrPort {
	if len(w.here) == 0 {
		return netip.AddrPort{}
	}
	return w.here[len(w.here)-1].addr
}

// see takes in where a probe was led, and reports whether that changed what is
// gone.
func (w *whereabouts) see(addr netip.AddrPort) (changed bool) {
	w.probes++
	known := slices.IndexFunc(w.here, func(s sighting) bool { return s.addr == addr })
	returned := slices.Index(w.gone, addr)
	switch {
	case known >= 0:
		w.here = slices.Delete(w.here, known, known+1)
	case returned >= 0:
		w.gone = slices.Delete(w.gone, returned, returned+1)
	}
	kept := w.here[:0]
	for _, s := range w.here {
		if (known >= 0 || returned >= 0) && w.probes-s.probe <= forgotten {
			kept = append(kept, s)
			continue
		}
		w.gone = append(w.gone, s.addr)
		changed = true
	}
	w.here = append(kept, sighting{addr, w.probes})
	w.gone = w.gone[max(0, len(w.gone)-maxGone):]
	return changed || returned >= 0
}
