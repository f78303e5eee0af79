package datastore

import (
	"reflect"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, test := range []struct {
		name, sql string
		want      []string
	}{
		{"a semicolon ends a statement", "a; b ;", []string{"a", "b"}},
		{"nothing between semicolons is nothing", ";; ;", nil},
		{"comments are no statement", "-- a;\n/* b; */", nil},
		{"a comment may have no end", "a /* b; c", []string{"a"}},
		{"a semicolon in quotes ends nothing", `'a;''b' ; "c;d" ; [e;f] ; ` + "`g;h`", []string{"'a;''b'", `"c;d"`, "[e;f]", "`g;h`"}},
		{"quotes may have no end", "'a; b", []string{"'a; b"}},
		{"a trigger ends with END", "CREATE TEMP TRIGGER t AFTER INSERT ON x BEGIN a; SELECT CASE 1 WHEN 1 THEN 2 END; END; b",
			[]string{"CREATE TEMP TRIGGER t AFTER INSERT ON x BEGIN a; SELECT CASE 1 WHEN 1 THEN 2 END; END", "b"}},
		{"so does one that is explained", "EXPLAIN QUERY PLAN CREATE TRIGGER t BEGIN a; END; b", []string{"EXPLAIN QUERY PLAN CREATE TRIGGER t BEGIN a; END", "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, s := range split(test.sql) {
				got = append(got, s.sql)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %q, expected %q", got, test.want)
			}
		})
	}
}

// testSchema has the tables of the inference's tests.
func testSchema(table string) ([]column, bool) {
	switch table {
	case "spells":
		return []column{{name: "id", oid: oidInt8}, {name: "name", oid: oidText}, {name: "card", oid: oidBytea}, {name: "at", oid: oidTimestampTZ}}, true
	case "owls":
		return []column{{name: "id", oid: oidText}, {name: "age", oid: oidFloat8}}, true
	}
	return nil, false
}

func TestInferParams(t *testing.T) {
	const i, s, b, ts, f, none = oidInt8, oidText, oidBytea, oidTimestampTZ, oidFloat8, oidUnspecified
	for _, test := range []struct {
		name, sql string
		want      []uint32
	}{
		{"a column that is compared gives its type", "SELECT * FROM spells WHERE id = $1 AND name <> $2", []uint32{i, s}},
		{"from the other side too", "SELECT * FROM spells WHERE $1 < at", []uint32{ts}},
		{"by an alias", "SELECT * FROM spells AS s JOIN owls o ON s.name = o.id WHERE s.id = $1 AND o.id = $2", []uint32{i, s}},
		{"a name of two tables with two types gives none", "SELECT * FROM spells, owls WHERE id = $1", []uint32{none}},
		{"rows of an INSERT", "INSERT INTO spells (card, name) VALUES ($1, $2), ($3, lower($4))", []uint32{b, s, b, none}},
		{"an INSERT without a list of columns", "INSERT OR REPLACE INTO main.spells VALUES ($1, $2, $3, $4)", []uint32{i, s, b, ts}},
		{"an upsert", "INSERT INTO spells (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET name = $2 WHERE excluded.at > $3", []uint32{i, s, ts}},
		{"an UPDATE", "UPDATE spells SET card = $2, name = $3 WHERE id = $1", []uint32{i, b, s}},
		{"LIMIT and OFFSET", "SELECT 1 LIMIT $1 OFFSET $2", []uint32{i, i}},
		{"a list", "SELECT * FROM spells WHERE id NOT IN ($1, 5, $2)", []uint32{i, i}},
		{"a range", "SELECT * FROM spells WHERE at BETWEEN $1 AND $2", []uint32{ts, ts}},
		{"a pattern", "SELECT * FROM spells WHERE id LIKE $1", []uint32{s}},
		{"a function whose type is known", "SELECT * FROM spells WHERE length(name) > $1", []uint32{i}},
		{"an expression gives none", "SELECT * FROM spells WHERE id + 1 = $1 OR at = $2 || 'Z' OR 1 - id = $3", []uint32{none, none, none}},
		{"a cast", "SELECT CAST($1 AS INTEGER), CAST($2 AS DATE)", []uint32{i, none}},
		{"a collation is looked through", "SELECT * FROM spells WHERE name COLLATE nocase = $1", []uint32{s}},
		{"IS NOT", "SELECT * FROM owls WHERE age IS NOT $1", []uint32{f}},
		{"two places that agree", "SELECT * FROM spells WHERE id > $1 OR id = $1 + 1", []uint32{i}},
		{"two places that do not agree", "SELECT * FROM spells WHERE id = $1 OR name = $1 OR id = $1", []uint32{none}},
		{"a gap", "SELECT * FROM spells WHERE name = $3", []uint32{none, none, s}},
		{"quoted names", `SELECT * FROM "spells" WHERE "id" = $1 AND [name] = $2`, []uint32{i, s}},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := split(test.sql)[0]
			n, err := st.params()
			if err != nil {
				t.Fatal(err)
			}
			if got := inferParams(&st, n, testSchema); !reflect.DeepEqual(got, test.want) {
				t.Errorf("%s: got %d, expected %d", test.sql, got, test.want)
			}
		})
	}
}

func TestInferResults(t *testing.T) {
	const i, s, f, b, none = oidInt8, oidText, oidFloat8, oidBool, oidUnspecified
	for _, test := range []struct {
		sql  string
		want []uint32
	}{
		{"SELECT count(*), count(*) AS n, count(x) c FROM t", []uint32{i, i, i}},
		{"SELECT DISTINCT 1, -2, 1.5, 'a', x'00', NULL", []uint32{i, i, f, s, oidBytea, none}},
		{"SELECT count(*) + 1.5, count(*) || 'x', 1 + 1", []uint32{none, none, none}},
		{"SELECT EXISTS (SELECT 1, 2), NOT EXISTS (SELECT 3)", []uint32{b, b}},
		{"SELECT CAST(x AS TEXT), CAST(x AS TIMESTAMP) FROM t", []uint32{s, none}},
		{"SELECT row_number() OVER (ORDER BY a, b), sum(x) FROM t", []uint32{i, none}},
		{"SELECT 1 UNION SELECT 'a'", []uint32{none}},
		{"WITH x AS (SELECT 'a') SELECT count(*) FROM x", []uint32{i}},
		{"SELECT 99999999999999999999", []uint32{none}},
		{"SELECT *, count(*) FROM t", []uint32{none, none, none}},
	} {
		t.Run(test.sql, func(t *testing.T) {
			st := split(test.sql)[0]
			if got := inferResults(&st, len(test.want)); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %d, expected %d", got, test.want)
			}
		})
	}
}

func TestDecodeUntyped(t *testing.T) {
	for text, want := range map[string]any{
		"42": int64(42), "-1": int64(-1), "0": int64(0), "9223372036854775807": int64(1<<63 - 1), "1.5": 1.5, "-0.25": -0.25,
		"007": "007", "-0": "-0", "+1": "+1", "1e5": "1e5", "1.50": "1.50", "3.0": "3.0", ".5": ".5", "5.": "5.", "1.2.3": "1.2.3", "": "", " 1": " 1",
		"9223372036854775808": "9223372036854775808", "12345678.12345678": "12345678.12345678", "NaN": "NaN", "0x10": "0x10", "1_000": "1_000", "--1": "--1",
	} {
		got, err := decodeUntyped(text)
		if err != nil || got != want {
			t.Errorf("%q: got %#v, %v, expected %#v", text, got, err, want)
		}
	}
}

func TestDecodeParam(t *testing.T) {
	for _, test := range []struct {
		name, raw string
		oid       uint32
		binary    bool
		want      any // nil: an error
	}{
		{"an instant is stored in UTC as CURRENT_TIMESTAMP writes it", "2026-01-02 03:04:05.5+01", oidTimestampTZ, false, "2026-01-02 02:04:05.5"},
		{"one without a zone is in UTC", "2026-01-02T03:04:05", oidTimestamp, false, "2026-01-02 03:04:05"},
		{"a date", "2026-01-02", oidDate, false, "2026-01-02"},
		{"a day before 2000 in binary", "\xff\xff\xff\xff", oidDate, true, "1999-12-31"},
		{"an instant before 2000 in binary", "\xff\xff\xff\xff\xff\xff\xff\xff", oidTimestampTZ, true, "1999-12-31 23:59:59.999999"},
		{"infinity is refused", "\x7f\xff\xff\xff\xff\xff\xff\xff", oidTimestampTZ, true, nil},
		{"NaN is refused", "NaN", oidFloat8, false, nil},
		{"a numeric that is whole stays whole", "12345678901234567", oidNumeric, false, int64(12345678901234567)},
		{"a smallint has 16 bits", "40000", oidInt2, false, nil},
		{"bytes in hex", `\x6869`, oidBytea, false, "hi"},
		{"half a byte is refused", `\x6`, oidBytea, false, nil},
		{"a uuid in binary", "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", oidUUID, true, "01020304-0506-0708-090a-0b0c0d0e0f10"},
		{"jsonb in binary", "\x01{}", oidJSONB, true, "{}"},
		{"a zero byte is no text", "a\x00b", oidText, true, nil},
		{"an unknown type in binary is refused", "x", 9999, true, nil},
		{"an unknown type in text is text", "5", 9999, false, "5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := decodeParam([]byte(test.raw), test.oid, test.binary, 1)
			if b, ok := got.([]byte); ok {
				got = string(b)
			}
			if got != test.want || (err == nil) != (test.want != nil) {
				t.Errorf("got %#v, %v, expected %#v", got, err, test.want)
			}
			if err != nil && len(test.raw) > 3 && strings.Contains(err.Error(), test.raw) {
				t.Errorf("the error holds the value: %v", err)
			}
		})
	}
}
