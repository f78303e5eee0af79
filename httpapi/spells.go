package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"minicloud.internal/kit"
)

// The number of spells in one answer of GET /api/spells.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// list answers GET /api/spells?limit=&after= with an array, in the order of
// ids. A header Link, rel="next" (RFC 8288), names the next page where there is
// one.
func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r, "limit", defaultLimit, 1, maxLimit)
	if err != nil {
		return err
	}
	after, err := number(r, "after", 0, 0, 1<<63-1)
	if err != nil {
		return err
	}
	spells, err := a.store.list(r.Context(), after, int(limit)+1)
	if err != nil {
		return err
	}
	if int64(len(spells)) > limit {
		spells = spells[:limit]
		w.Header().Set("Link", fmt.Sprintf(`</api/spells?limit=%d&after=%d>; rel="next"`, limit, spells[limit-1].ID))
	}
	if spells == nil {
		spells = []Spell{} // an empty array, not null
	}
	kit.WriteJSON(w, http.StatusOK, spells)
	return nil
}

// create answers POST /api/spells.
func (a *API) create(w http.ResponseWriter, r *http.Request) error {
	in, err := readSpell(w, r, int64(a.cfg.MaxBody))
	if err != nil {
		return err
	}
	spell, err := a.store.create(lasting(r), in)
	if err != nil {
		return err
	}
	a.relay.nudge()
	w.Header().Set("Location", "/api/spells/"+strconv.FormatInt(spell.ID, 10))
	kit.WriteJSON(w, http.StatusCreated, spell)
	return nil
}

// get answers GET /api/spells/{id}.
func (a *API) get(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	spell, outcome, err := a.reader.spell(r.Context(), id)
	w.Header().Set("X-Cache", outcome)
	if err != nil {
		return err
	}
	kit.WriteJSON(w, http.StatusOK, spell)
	return nil
}

// replace answers PUT /api/spells/{id}.
func (a *API) replace(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var in replacement
	if err := kit.ReadJSON(w, r, int64(a.cfg.MaxBody), &in); err != nil {
		return err
	}
	if err := in.validate(id); err != nil {
		return err
	}
	spell, err := a.store.replace(lasting(r), id, in.input)
	a.changed(r, id)
	if err != nil {
		return err
	}
	kit.WriteJSON(w, http.StatusOK, spell)
	return nil
}

// delete answers DELETE /api/spells/{id}.
func (a *API) delete(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	err = a.store.delete(lasting(r), id)
	a.changed(r, id)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// changed follows every write of an existing spell. It does not ask how the
// write ended: one whose commit was not answered may have happened.
func (a *API) changed(r *http.Request, id int64) {
	if err := a.reader.changed(lasting(r), id); err != nil {
		a.logger.Debug("invalidation left to the event", "spell_id", id, "error", err)
	}
	a.relay.nudge()
}

// lasting is the request's context without its end: a write that began is not
// left halfway because the client went away. The store and the cache bound it.
func lasting(r *http.Request) context.Context { return context.WithoutCancel(r.Context()) }

// readSpell reads the body of a POST; its error is a problem.
func readSpell(w http.ResponseWriter, r *http.Request, limit int64) (in input, err error) {
	if err := kit.ReadJSON(w, r, limit, &in); err != nil {
		return input{}, err
	}
	return in, in.validate()
}

// pathID reads {id}, or returns a 400 problem.
func pathID(r *http.Request) (int64, error) {
	text := chi.URLParam(r, "id")
	id, err := strconv.ParseInt(text, 10, 64)
	// One spelling per spell: neither +3 nor 03.
	if err != nil || id < 1 || strconv.FormatInt(id, 10) != text {
		return 0, kit.Problemf(http.StatusBadRequest, "the id is %.40q, expected a whole number from 1, as in /api/spells/3", text)
	}
	return id, nil
}

// number reads a query parameter, or returns a 400 problem.
func number(r *http.Request, name string, absent, from, to int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < from || n > to {
		return 0, kit.Problemf(http.StatusBadRequest, "%s is %.40q, expected a whole number from %d to %d", name, text, from, to)
	}
	return n, nil
}
