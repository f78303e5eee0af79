package sigv4

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// condition is one of a [Policy] for a field of the form.
type condition struct {
	field  string // in lower case
	value  string
	prefix bool   // the field begins with value; otherwise it is value
	text   string // as the document has it, for the error
}

func (c condition) holds(value string) bool {
	if !c.prefix {
		return value == c.value
	}
	if c.field != "content-type" {
		return strings.HasPrefix(value, c.value)
	}
	// A list of types is allowed where each of them is.
	for part := range strings.SplitSeq(value, ",") {
		if !strings.HasPrefix(strings.TrimSpace(part), c.value) {
			return false
		}
	}
	return true
}

// sizeRange is the content-length-range of a policy, in bytes.
type sizeRange struct {
	least, most int64
	set         bool
}

// narrow makes r what both r and other allow.
func (r sizeRange) narrow(other sizeRange) sizeRange {
	if !r.set {
		return other
	}
	return sizeRange{max(r.least, other.least), min(r.most, other.most), true}
}

// add reads a condition: {"field": "value"}, ["eq", "$field", "value"],
// ["starts-with", "$field", "value"] or ["content-length-range", least, most].
func (p *Policy) add(raw json.RawMessage) error {
	var list []json.RawMessage
	switch raw[0] { // a RawMessage of a parsed list is never empty
	case '{':
		c, err := simpleCondition(raw)
		if err != nil {
			return err
		}
		p.conditions = append(p.conditions, c)
		return nil
	case '[':
		if err := json.Unmarshal(raw, &list); err != nil {
			return errPolicyJSON()
		}
	default:
		return errPolicy("Invalid condition test: must be a List or Object.")
	}
	if len(list) == 0 {
		return errPolicy("Invalid Condition: missing operation identifier.")
	}
	var operation string
	if err := json.Unmarshal(list[0], &operation); err != nil {
		return errPolicyJSON()
	}
	if operation != "eq" && operation != "starts-with" && operation != "content-length-range" {
		return errPolicy("Invalid Condition: unknown operation '%s'.", operation)
	}
	if len(list) != 3 {
		return errPolicy("Invalid %s: wrong number of arguments.", operation)
	}
	if operation == "content-length-range" {
		r, err := parseRange(list[1], list[2])
		if err != nil {
			return err
		}
		p.size = p.size.narrow(r)
		return nil
	}
	c, err := fieldCondition(list[1], list[2])
	if err != nil {
		return err
	}
	c.text, c.prefix = string(raw), operation == "starts-with"
	if c.field == "" {
		return errAccording("Policy Condition failed: %s", c.text)
	}
	p.conditions = append(p.conditions, c)
	return nil
}

func simpleCondition(raw json.RawMessage) (condition, error) {
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		return condition{}, errPolicyJSON()
	}
	if len(object) != 1 {
		return condition{}, errPolicy("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
	}
	var c condition
	for name, value := range object {
		text, ok := value.(string)
		if !ok {
			return condition{}, errPolicy("Invalid Simple-Condition: value must be a string.")
		}
		c = condition{field: strings.ToLower(name), value: text}
	}
	c.text = fmt.Sprintf(`["eq", "$%s", "%s"]`, c.field, c.value)
	if strings.TrimSpace(c.field) == "" {
		return condition{}, errAccording("Policy Condition failed: %s", c.text)
	}
	return c, nil
}

// fieldCondition reads "$field" and a value, which may be a number. The field is
// empty where it is not written like that.
func fieldCondition(name, value json.RawMessage) (c condition, err error) {
	var field string
	if err := json.Unmarshal(name, &field); err != nil {
		return condition{}, errPolicyJSON()
	}
	switch scalar := parseScalar(value).(type) {
	case string:
		c.value = scalar
	case json.Number:
		c.value = scalar.String()
	default:
		return condition{}, errPolicyJSON()
	}
	if rest, ok := strings.CutPrefix(field, "$"); ok {
		c.field = strings.TrimSpace(strings.ToLower(rest))
	}
	return c, nil
}

func parseRange(least, most json.RawMessage) (sizeRange, error) {
	r := sizeRange{set: true, most: math.MaxInt64}
	for _, bound := range []struct {
		raw json.RawMessage
		to  *int64
	}{{least, &r.least}, {most, &r.most}} {
		var digits string
		switch scalar := parseScalar(bound.raw).(type) {
		case string:
			digits = scalar
		case json.Number:
			digits = scalar.String()
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return sizeRange{}, errPolicyJSON()
		}
		*bound.to = n
	}
	return r, nil
}

// parseScalar decodes a JSON value, its numbers as they are written.
func parseScalar(raw json.RawMessage) (value any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return nil
	}
	return value
}
