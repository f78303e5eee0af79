package transfer

// Older reports whether serial number a is before b (RFC 1982, section 3.2).
// Between two that lie exactly half the circle apart the order is undefined:
// neither is older.
func Older(a, b uint32) bool {
	return a != b && b-a < 1<<31
}
