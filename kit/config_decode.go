package kit

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// set stores one TOML value in v. The TOML library would do so too, but its
// errors do not know which element of an array they are about, it takes a bare
// number for nanoseconds, and it leaves defaults inside the elements of a new
// array.
func (l lines) set(v reflect.Value, value any, key string) (err error) {
	text, isText := value.(string)
	if isText {
		if text, err = expand(text, key); err != nil {
			return err
		}
		value = text
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return l.set(v.Elem(), value, key)
	}
	from := reflect.ValueOf(value)
	table, isTable := value.(map[string]any)
	switch to := v.Addr().Interface().(type) {
	case *time.Duration:
		if *to, err = time.ParseDuration(text); err != nil {
			return KeyErrorf(key, `is %s, expected a duration with its unit, such as "1.5s" or "300ms"`, show(value))
		}
		return nil
	case encoding.TextUnmarshaler:
		if isTable || from.Kind() == reflect.Slice {
			return KeyErrorf(key, "is %s, expected a string", show(value))
		}
		if err = to.UnmarshalText(fmt.Append(nil, value)); err == nil {
			return nil
		}
		if strings.HasPrefix(err.Error(), "is ") { // the sentence of Bytes
			return KeyErrorf(key, "%v", err)
		}
		return KeyErrorf(key, "is %s: %v", show(value), err)
	}
	switch {
	case (v.Kind() == reflect.Struct || v.Kind() == reflect.Map) && isTable:
		return l.setTable(v, table, key)
	case v.Kind() == reflect.Slice && from.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), from.Len(), from.Len()))
		for i := range from.Len() {
			if err := l.set(v.Index(i), from.Index(i).Interface(), fmt.Sprintf("%s[%d]", key, i)); err != nil {
				return err
			}
		}
		return nil
	}
	// What is left are strings, numbers and booleans, which JSON has too.
	encoded, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(encoded, v.Addr().Interface())
	}
	if err != nil {
		return KeyErrorf(key, "is %s, expected %s", show(value), strings.Replace(typeName(v.Type()), "an object", "a table", 1))
	}
	return nil
}

// show writes a TOML value for an error.
func show(value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(v)
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "an array"
	}
	return fmt.Sprint(value)
}

// setTable stores the keys of a TOML table in v, a struct or a map, in the order
// of the file, so that the first mistake in it is the one reported.
func (l lines) setTable(v reflect.Value, table map[string]any, key string) error {
	path := func(name string) string { return strings.TrimPrefix(key+"."+name, ".") }
	names := slices.SortedFunc(maps.Keys(table), func(a, b string) int {
		return cmp.Or(l[path(a)]-l[path(b)], strings.Compare(a, b))
	})
	for _, name := range names {
		if v.Kind() == reflect.Map {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			value := reflect.New(v.Type().Elem()).Elem()
			if old := v.MapIndex(reflect.ValueOf(name)); old.IsValid() {
				value.Set(old)
			}
			if err := l.set(value, table[name], path(name)); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(name), value)
			continue
		}
		fields := keyFields(v.Type())
		i := slices.IndexFunc(fields, func(f keyField) bool { return f.name == name })
		if i < 0 {
			return &unknownKey{KeyError{path(name), suggest(name, fields)}}
		}
		if err := l.set(v.FieldByIndex(fields[i].index), table[name], path(name)); err != nil {
			return err
		}
	}
	return nil
}

type keyField struct {
	name  string
	index []int
}

// keyFields returns the fields of the struct t, and of those it embeds, that
// are keys.
func keyFields(t reflect.Type) (fields []keyField) {
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("toml"), ","); name != "" && name != "-" {
			fields = append(fields, keyField{name, f.Index})
		}
	}
	return fields
}

// suggest returns ", did you mean …?" for an unknown key that is at most two
// edits from a known one, and otherwise the list of known keys.
func suggest(name string, fields []keyField) string {
	var known []string
	best, distance := "", 3
	for _, f := range fields {
		known = append(known, f.name)
		if d := editDistance(name, f.name); d < distance {
			best, distance = f.name, d
		}
	}
	if best != "" {
		return fmt.Sprintf(", did you mean %s?", best)
	}
	return ", known here: " + strings.Join(known, ", ")
}

// editDistance is the Levenshtein distance in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:?-[^}]*)?\}`)

// expand replaces the environment variables in a string of the file.
func expand(text, key string) (string, error) {
	missing := ""
	text = variable.ReplaceAllStringFunc(text, func(s string) string {
		m := variable.FindStringSubmatch(s)
		value, ok := os.LookupEnv(m[1])
		fallback, emptyToo := strings.CutPrefix(m[2], ":-")
		switch {
		case ok && (value != "" || !emptyToo):
			return value
		case m[2] == "":
			missing = m[1]
		}
		return strings.TrimPrefix(fallback, "-")
	})
	if missing != "" {
		return "", KeyErrorf(key, "needs the environment variable %s, which is not set; ${%s-default} gives it a default", missing, missing)
	}
	return text, nil
}
