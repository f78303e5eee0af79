package datastore

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// decodeParam turns a parameter of a Bind into what SQLite stores: nil, int64,
// float64, string or []byte. raw nil is NULL; the result shares no memory with
// raw. n is the parameter's number, for the error.
func decodeParam(raw []byte, oid uint32, bin bool, n int) (any, error) {
	if raw == nil {
		return nil, nil
	}
	var value any
	var err error
	if bin {
		value, err = decodeBinary(raw, oid)
	} else {
		value, err = decodeText(string(raw), oid)
	}
	if err != nil {
		e := toPgError(err, nil)
		e.message = fmt.Sprintf("parameter $%d: %s", n, e.message)
		return nil, e
	}
	return value, nil
}

func decodeText(s string, oid uint32) (any, error) {
	bad := func() (any, error) {
		// The value itself stays out of the message: it could reach a log.
		return nil, errorf(codeBadText, "the value is no %s", typeName(oid))
	}
	trimmed := strings.TrimSpace(s)
	switch oid {
	case oidInt8, oidInt4, oidInt2, oidOID:
		bits := map[uint32]int{oidInt8: 64, oidOID: 64, oidInt4: 32, oidInt2: 16}[oid]
		n, err := strconv.ParseInt(trimmed, 10, bits)
		if err != nil {
			return bad()
		}
		return n, nil
	case oidFloat8, oidFloat4, oidNumeric:
		return decodeNumber(trimmed, bad)
	case oidBool:
		b, ok := parseBool(trimmed)
		if !ok {
			return bad()
		}
		return boolInt(b), nil
	case oidBytea:
		return decodeBytea(s, bad)
	case oidTimestampTZ, oidTimestamp, oidDate:
		t, ok := parseTime(trimmed)
		if !ok {
			return bad()
		}
		return formatTime(t, oid), nil
	case oidUnspecified, oidUnknown:
		return decodeUntyped(s)
	}
	return checkText(s)
}

func decodeNumber(s string, bad func() (any, error)) (any, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || strings.ContainsAny(s, "xX_") {
		return bad()
	}
	return f, nil
}

func decodeBytea(s string, bad func() (any, error)) (any, error) {
	if digits, ok := strings.CutPrefix(s, `\x`); ok {
		b, err := hex.DecodeString(digits)
		if err != nil {
			return bad()
		}
		return b, nil
	}
	if strings.Contains(s, `\`) { // the old escape format
		return bad()
	}
	return []byte(s), nil
}

// decodeUntyped decides over text of which neither the client nor the statement
// says the type. A number written the one way that SQLite itself would write it
// back is bound as a number: then length(x) > $1 compares numbers, and a column
// with the affinity TEXT still stores the same text.
func decodeUntyped(s string) (any, error) {
	digits := strings.TrimPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	plain := whole != "" && strings.Trim(digits, "0123456789.") == "" && (whole == "0" || whole[0] != '0')
	switch {
	case plain && !point && s != "-0":
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
	// SQLite writes a number of up to 13 digits back as it was, without zeros at
	// its end; from 14 on it may show the error of the binary fraction.
	case plain && point && fraction != "" && len(whole)+len(fraction) <= 12 && fraction[len(fraction)-1] != '0' &&
		!strings.Contains(fraction, ".") && (whole != "0" || !strings.HasPrefix(fraction, "000")):
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f, nil
		}
	}
	return checkText(s)
}

// checkText refuses what is no text for PostgreSQL: SQLite would store it, and
// no client could read it back.
func checkText(s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, errorf(codeNotUTF8, "the text is not UTF-8")
	}
	if strings.IndexByte(s, 0) >= 0 {
		return nil, errorf(codeNotUTF8, "the text holds a zero byte")
	}
	return s, nil
}

func decodeBinary(raw []byte, oid uint32) (any, error) {
	size := map[uint32]int{oidInt8: 8, oidInt4: 4, oidInt2: 2, oidOID: 4, oidFloat8: 8, oidFloat4: 4,
		oidBool: 1, oidTimestampTZ: 8, oidTimestamp: 8, oidDate: 4, oidUUID: 16}[oid]
	if size != 0 && len(raw) != size {
		return nil, errorf(codeBadBinary, "%d bytes are no binary %s", len(raw), typeName(oid))
	}
	be := binary.BigEndian
	switch oid {
	case oidInt8:
		return int64(be.Uint64(raw)), nil
	case oidInt4:
		return int64(int32(be.Uint32(raw))), nil
	case oidInt2:
		return int64(int16(be.Uint16(raw))), nil
	case oidOID:
		return int64(be.Uint32(raw)), nil
	case oidFloat8:
		return checkFloat(math.Float64frombits(be.Uint64(raw)))
	case oidFloat4:
		return checkFloat(float64(math.Float32frombits(be.Uint32(raw))))
	case oidBool:
		return boolInt(raw[0] != 0), nil
	case oidBytea:
		return append([]byte{}, raw...), nil
	case oidTimestampTZ, oidTimestamp:
		micros := int64(be.Uint64(raw))
		if micros == math.MaxInt64 || micros == math.MinInt64 {
			return nil, errorf(codeOutOfRange, "an infinite timestamp cannot be stored")
		}
		return checkTime(time.Unix(epoch.Unix()+floorDiv(micros, 1e6), (micros-floorDiv(micros, 1e6)*1e6)*1e3), oid)
	case oidDate:
		return checkTime(time.Unix(epoch.Unix()+int64(int32(be.Uint32(raw)))*day, 0), oid)
	case oidUUID:
		return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]), nil
	case oidJSONB:
		if len(raw) == 0 || raw[0] != 1 {
			return nil, errorf(codeBadBinary, "the jsonb value has an unknown version")
		}
		return checkText(string(raw[1:]))
	case oidText, oidVarchar, oidBPChar, oidJSON, oidUnspecified, oidUnknown:
		return checkText(string(raw))
	}
	return nil, errorf(codeUnsupported, "the type with OID %d is not supported in binary", oid).
		hint("Send it as text.")
}

// checkFloat refuses NaN, which SQLite would turn into NULL.
func checkFloat(f float64) (any, error) {
	if math.IsNaN(f) {
		return nil, errorf(codeOutOfRange, "NaN cannot be stored")
	}
	return f, nil
}

func checkTime(t time.Time, oid uint32) (any, error) {
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return nil, errorf(codeOutOfRange, "the time is outside of the years 1 to 9999")
	}
	return formatTime(t, oid), nil
}

// formatTime writes a time as CURRENT_TIMESTAMP does, in UTC, so that text
// order is time order and SQLite's functions read it.
func formatTime(t time.Time, oid uint32) string {
	if oid == oidDate {
		return t.UTC().Format(time.DateOnly)
	}
	return t.UTC().Format("2006-01-02 15:04:05.999999")
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// parseBool reads the spellings that PostgreSQL accepts.
func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "t", "true", "yes", "y", "on", "1":
		return true, true
	case "f", "false", "no", "n", "off", "0":
		return false, true
	}
	return false, false
}

// timeLayouts are SQLite's time strings (https://sqlite.org/lang_datefunc.html)
// and what PostgreSQL's clients send; Go reads a fraction behind any seconds.
var timeLayouts = [...]string{
	"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07:00:00",
	"2006-01-02T15:04:05", "2006-01-02T15:04:05Z07:00",
	"2006-01-02", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04Z07:00",
}

// parseTime reads a time; without a zone it is in UTC.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil && t.UTC().Year() >= 1 && t.UTC().Year() <= 9999 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
