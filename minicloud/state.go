package minicloud

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// stateDir holds what a cloud of this directory keeps: its data, its log, its
// lock, and a description of the one that runs.
const stateDir = ".minicloud"

// State describes a running local cloud; it is written once the cloud answers.
type State struct {
	PID int `json:"pid"`
	// Build is a digest of the binary and the configuration that run.
	Build string  `json:"build"`
	Rows  []Row   `json:"parts"`
	Ready float64 `json:"ready_ms"` // from exec to the first answer
}

func stateFile(dir string) string { return filepath.Join(dir, "state.json") }

// readState returns the state that the process pid has written, or nil while
// it has not. The caller knows that pid runs: what a killed process has left
// is told from it by that, and removed before the next one starts.
func readState(dir string, pid int) *State {
	text, err := os.ReadFile(stateFile(dir))
	if err != nil {
		return nil
	}
	s := &State{}
	if json.Unmarshal(text, s) != nil || s.PID != pid {
		return nil
	}
	return s
}

// writeState publishes the state in one step.
func writeState(dir string, s *State) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	temp := stateFile(dir) + ".new"
	if err := os.WriteFile(temp, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, stateFile(dir))
}

// ownedFile lists, in a directory of data, which parts' directories the cloud
// has made itself.
const ownedFile = ".minicloud"

// prepareData makes the directory of data and tries whether files can be made
// in it. It notes which parts' directories do not exist yet: the cloud is about
// to make them, and `clean` may remove them. MINICLOUD_DATA may point anywhere,
// and a folder of the same name may have been there before.
func prepareData(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	try, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return err
	}
	if err := errors.Join(try.Close(), os.Remove(try.Name())); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, ownedFile))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	before := string(text)
	for _, p := range Parts() {
		if _, err := os.Stat(filepath.Join(dir, p.Name)); p.Keeps && os.IsNotExist(err) && !owned(text, p.Name) {
			text = append(text, p.Name+"\n"...)
		}
	}
	if string(text) == before {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, ownedFile), text, 0o600)
}

func owned(list []byte, name string) bool {
	return slices.Contains(strings.Fields(string(list)), name)
}

// removeData removes what the cloud keeps, and returns the directories of its
// parts that it has not made and therefore leaves. whole says that the
// directory cannot be anybody else's.
func removeData(data string, whole bool) (left []string, err error) {
	list, err := os.ReadFile(filepath.Join(data, ownedFile))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for _, p := range Parts() {
		dir := filepath.Join(data, p.Name)
		if _, err := os.Stat(dir); !p.Keeps || err != nil {
			continue
		}
		if !whole && !owned(list, p.Name) {
			left = append(left, dir)
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return left, err
		}
	}
	_ = os.Remove(filepath.Join(data, ownedFile))
	_ = os.Remove(data) // stays where it holds anything else
	return left, nil
}
