package checksum

import (
	"net/http"
	"strings"
)

// Declared is what a request says of the checksum of its body.
type Declared struct {
	// Algorithm is empty where the request names none.
	Algorithm Algorithm
	// Value is the checksum in base64. It is empty where it comes as a trailer.
	Value string
	// Trailer says that the value follows the body, in the field
	// Algorithm.Field().
	Trailer bool
}

// Parse reads x-amz-checksum-…, x-amz-sdk-checksum-algorithm and x-amz-trailer.
// A contradiction among them, and what is no checksum, is an [*Error].
func Parse(h http.Header) (Declared, error) {
	wanted, err := algorithm(h.Get("X-Amz-Sdk-Checksum-Algorithm"))
	if err != nil {
		return Declared{}, err
	}
	d, found, err := values(h)
	if err != nil {
		return Declared{}, err
	}
	trailer := h.Get("X-Amz-Trailer")
	if trailer != "" {
		if found > 0 {
			return Declared{}, errMultiple()
		}
		a, ok := FromField(trailer)
		if !ok {
			return Declared{}, ErrTrailer()
		}
		d, found = Declared{Algorithm: a, Trailer: true}, 1
	}
	switch {
	case wanted != "" && found == 0:
		return Declared{}, invalid("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case wanted != "" && wanted != d.Algorithm:
		return Declared{}, invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.")
	case found > 0 && !d.Trailer && !d.Algorithm.Valid(d.Value):
		return Declared{}, invalid("Value for %s header is invalid.", d.Algorithm.Field())
	}
	return d, nil
}

// ParseForm reads the fields x-amz-checksum-… of a form, whose names are in lower
// case.
func ParseForm(form map[string]string) (Declared, error) {
	h := make(http.Header, 1)
	for name, value := range form {
		if strings.HasPrefix(name, prefix) {
			h.Set(name, value)
		}
	}
	d, _, err := values(h)
	if err == nil && d.Algorithm != "" && !d.Algorithm.Valid(d.Value) {
		err = invalid("Value for %s header is invalid.", d.Algorithm.Field())
	}
	if err != nil {
		return Declared{}, err
	}
	return d, nil
}

// ParseCreate reads what CreateMultipartUpload says of the checksum that its object
// shall have: x-amz-checksum-algorithm and x-amz-checksum-type. Without an
// algorithm, both are empty.
func ParseCreate(h http.Header) (a Algorithm, kind string, err error) {
	if a, err = algorithm(h.Get("X-Amz-Checksum-Algorithm")); err != nil {
		return "", "", err
	}
	if kind, err = ParseType(h.Get("X-Amz-Checksum-Type")); err != nil {
		return "", "", err
	}
	switch {
	case a == "" && kind != "":
		return "", "", invalid("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
	case a == "":
		return "", "", nil
	case kind == "":
		return a, a.DefaultType(), nil
	case !a.Supports(kind):
		return "", "", invalid("The %s checksum type cannot be used with the %s checksum algorithm.", kind, strings.ToLower(string(a)))
	}
	return a, kind, nil
}

// ParseType reads the value of x-amz-checksum-type, which may be empty.
func ParseType(value string) (string, error) {
	kind := strings.ToUpper(value)
	if kind != "" && kind != FullObject && kind != OfParts {
		return "", invalid("Value for x-amz-checksum-type header is invalid.")
	}
	return kind, nil
}

// values finds the one x-amz-checksum-… that h has, without looking at its value.
func values(h http.Header) (d Declared, found int, err error) {
	unknown := false
	for name, v := range h {
		if len(name) <= len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
			continue
		}
		switch strings.ToLower(name[len(prefix):]) {
		case "type", "algorithm", "mode":
			continue // not values
		}
		a, ok := FromField(name)
		unknown = unknown || !ok
		found += len(v)
		if len(v) > 0 {
			d = Declared{Algorithm: a, Value: v[0]}
		}
	}
	switch {
	case unknown:
		return Declared{}, 0, invalid("The algorithm type you specified in x-amz-checksum- header is invalid.")
	case found > 1:
		return Declared{}, 0, errMultiple()
	}
	return d, found, nil
}

func algorithm(name string) (Algorithm, error) {
	if name == "" {
		return "", nil
	}
	a, ok := ParseAlgorithm(name)
	if !ok {
		return "", invalid("Checksum algorithm provided is unsupported. Please try again with any of the valid types: %v", names())
	}
	return a, nil
}

func names() string {
	var all []string
	for _, a := range Algorithms() {
		all = append(all, string(a))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func errMultiple() error {
	return invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

// ErrTrailer is the refusal of an x-amz-trailer that announces no checksum.
func ErrTrailer() error {
	return invalid("The value specified in the x-amz-trailer header is not supported")
}
