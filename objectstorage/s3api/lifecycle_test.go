package s3api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

func lifecycleOf(rules ...string) string {
	return "<LifecycleConfiguration" + ns + "><Rule>" + strings.Join(rules, "</Rule><Rule>") + "</Rule></LifecycleConfiguration>"
}

const (
	enabled = "<Status>Enabled</Status><Filter><Prefix></Prefix></Filter>"
	inADay  = "<Expiration><Days>1</Days></Expiration>"
)

func TestBucketLifecycle(t *testing.T) {
	d := newObjectDoor(t)
	put := func(name, body string, status int, want string) step {
		return step{name, "PUT", "/files?lifecycle", body, nil, status, want}
	}
	filter := func(f string) string {
		return lifecycleOf("<Status>Enabled</Status><Filter>" + f + "</Filter>" + inADay)
	}
	const tag = "<Tag><Key>a</Key><Value>b</Value></Tag>"
	many := lifecycleOf(slices.Repeat([]string{enabled + inADay}, maxLifecycleRules+1)...)
	d.steps(t, []step{
		{"none", "GET", "/files?lifecycle", "", nil, 404, "NoSuchLifecycleConfiguration"},
		put("without rules", "<LifecycleConfiguration/>", 400, "MalformedXML"),
		put("with too many", many, 400, "MalformedXML"),
		put("without a status", lifecycleOf("<Prefix/>"+inADay), 400, "MalformedXML"),
		put("with a status that is none", lifecycleOf("<Status>On</Status><Prefix/>"+inADay), 400, "MalformedXML"),
		put("with neither prefix nor filter", lifecycleOf("<Status>Enabled</Status>"+inADay), 400, "MalformedXML"),
		put("with both", lifecycleOf(enabled+"<Prefix>a</Prefix>"+inADay), 400, "MalformedXML"),
		put("that does nothing", lifecycleOf(enabled), 400, "InvalidRequest"),
		put("in no days", lifecycleOf(enabled+"<Expiration><Days>0</Days></Expiration>"), 400, "InvalidArgument"),
		put("in days that are none", lifecycleOf(enabled+"<Expiration><Days>x</Days></Expiration>"), 400, "MalformedXML"),
		put("at two times", lifecycleOf(enabled+"<Expiration><Days>1</Days><Date>2026-01-01T00:00:00Z</Date></Expiration>"), 400, "MalformedXML"),
		put("at noon", lifecycleOf(enabled+"<Expiration><Date>2026-01-01T12:00:00Z</Date></Expiration>"), 400, "InvalidArgument"),
		put("with a transition", lifecycleOf(enabled+"<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"), 501, "NotImplemented"),
		put("of older versions in no days", lifecycleOf(enabled+"<NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>"), 400, "InvalidArgument"),
		put("keeping too many of them", lifecycleOf(enabled+"<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101</NewerNoncurrentVersions></NoncurrentVersionExpiration>"), 400, "InvalidArgument"),
		put("of uploads in no days", lifecycleOf(enabled+"<AbortIncompleteMultipartUpload><DaysAfterInitiation>0</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), 400, "InvalidArgument"),
		put("of uploads by tag", lifecycleOf("<Status>Enabled</Status><Filter>"+tag+"</Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), 400, "InvalidRequest"),
		put("of markers by tag", lifecycleOf("<Status>Enabled</Status><Filter>"+tag+"</Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), 400, "InvalidRequest"),
		put("two rules of one name", lifecycleOf("<ID>a</ID>"+enabled+inADay, "<ID>a</ID>"+enabled+inADay), 400, "InvalidArgument"),
		put("a filter of two", filter("<Prefix>a</Prefix>"+tag), 400, "MalformedXML"),
		put("a tag that is none", filter("<Tag><Key></Key><Value/></Tag>"), 400, "InvalidTag"),
		put("a size below nothing", filter("<ObjectSizeGreaterThan>-1</ObjectSizeGreaterThan>"), 400, "InvalidArgument"),
		put("sizes that nothing has", filter("<And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And>"), 400, "InvalidRequest"),
		put("as it should be", filter("<And><Prefix>a</Prefix>"+tag+"</And>"), 200, ""),
		{"is there, and has a name", "GET", "/files?lifecycle", "", nil, 200, "<And><Prefix>a</Prefix>" + tag},
		{"of no bucket", "PUT", "/b99?lifecycle", lifecycleOf(enabled + inADay), nil, 404, "NoSuchBucket"},
		{"no more", "DELETE", "/files?lifecycle", "", nil, 204, ""},
		{"that is so", "GET", "/files?lifecycle", "", nil, 404, "NoSuchLifecycleConfiguration"},
	})
}

func parseLifecycle(t *testing.T, rules ...string) *Lifecycle {
	t.Helper()
	var l Lifecycle
	if err := decodeXML([]byte(lifecycleOf(rules...)), &l); err != nil {
		t.Fatal(err)
	}
	if err := l.check(); err != nil {
		t.Fatal(err)
	}
	return &l
}

func TestExpired(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", "2026-01-"+s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	object := func(modified string) store.Info {
		return store.Info{Key: "a/k", Size: 10, Latest: true, Modified: at(modified), Attributes: store.Attributes{Tags: []store.Tag{{Key: "t", Value: "1"}, {Key: "u", Value: "2"}}}}
	}
	marker := func(modified string) store.Info {
		return store.Info{Key: "a/k", Latest: true, DeleteMarker: true, Modified: at(modified)}
	}
	older := func(v store.Info) store.Info { v.Latest = false; return v }
	filtered := func(f string) string { return "<Status>Enabled</Status><Filter>" + f + "</Filter>" + inADay }
	const noncurrent = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"
	for _, test := range []struct {
		name     string
		rules    []string
		versions []store.Info
		now      string
		want     []Expiry
	}{
		{"a minute before midnight", []string{enabled + inADay}, []store.Info{object("01 10:00")}, "02 23:59", []Expiry{Keep}},
		{"at the first midnight behind a day", []string{enabled + inADay}, []store.Info{object("01 10:00")}, "03 00:00", []Expiry{ExpireCurrent}},
		{"what was written at midnight", []string{enabled + inADay}, []store.Info{object("01 00:00")}, "02 00:00", []Expiry{ExpireCurrent}},
		{"a rule that is off", []string{strings.Replace(enabled, "Enabled", "Disabled", 1) + inADay}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{Keep}},
		{"on a date", []string{enabled + "<Expiration><Date>2026-01-05T00:00:00Z</Date></Expiration>"}, []store.Info{object("04 23:00")}, "05 00:00", []Expiry{ExpireCurrent}},
		{"before the date", []string{enabled + "<Expiration><Date>2026-01-05T00:00:00Z</Date></Expiration>"}, []store.Info{object("01 00:00")}, "04 23:59", []Expiry{Keep}},
		{"another prefix", []string{filtered("<Prefix>b/</Prefix>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{Keep}},
		{"the prefix", []string{filtered("<Prefix>a/</Prefix>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{ExpireCurrent}},
		{"the older form of the prefix", []string{"<Status>Enabled</Status><Prefix>a/</Prefix>" + inADay}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{ExpireCurrent}},
		{"the tag", []string{filtered("<Tag><Key>t</Key><Value>1</Value></Tag>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{ExpireCurrent}},
		{"another value of the tag", []string{filtered("<Tag><Key>t</Key><Value>2</Value></Tag>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{Keep}},
		{"one of two tags", []string{filtered("<And><Tag><Key>t</Key><Value>1</Value></Tag><Tag><Key>v</Key><Value>1</Value></Tag></And>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{Keep}},
		{"both tags", []string{filtered("<And><Prefix>a</Prefix><Tag><Key>t</Key><Value>1</Value></Tag><Tag><Key>u</Key><Value>2</Value></Tag></And>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{ExpireCurrent}},
		{"not above its size", []string{filtered("<ObjectSizeGreaterThan>10</ObjectSizeGreaterThan>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{Keep}},
		{"above a smaller one", []string{filtered("<ObjectSizeGreaterThan>9</ObjectSizeGreaterThan>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{ExpireCurrent}},
		{"not below its size", []string{filtered("<ObjectSizeLessThan>10</ObjectSizeLessThan>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{Keep}},
		{"an older version is not the object", []string{enabled + inADay}, []store.Info{object("09 10:00"), older(object("01 10:00"))}, "10 00:00", []Expiry{Keep, Keep}},
		{"an older version ages since it was replaced", []string{enabled + noncurrent}, []store.Info{object("09 10:00"), older(object("01 10:00"))}, "10 00:00", []Expiry{Keep, Keep}},
		{"and is then removed", []string{enabled + noncurrent}, []store.Info{object("09 10:00"), older(object("01 10:00"))}, "11 00:00", []Expiry{Keep, RemoveVersion}},
		{"the newest of the older ones stay", []string{enabled + strings.Replace(noncurrent, "</NoncurrentDays>", "</NoncurrentDays><NewerNoncurrentVersions>1</NewerNoncurrentVersions>", 1)},
			[]store.Info{object("04 00:00"), older(object("03 00:00")), older(object("02 00:00")), older(object("01 00:00"))}, "30 00:00", []Expiry{Keep, Keep, RemoveVersion, RemoveVersion}},
		{"an older marker is a version", []string{enabled + noncurrent}, []store.Info{object("03 00:00"), older(marker("02 00:00"))}, "30 00:00", []Expiry{Keep, RemoveVersion}},
		{"a marker that hides something stays", []string{enabled + inADay}, []store.Info{marker("02 00:00"), older(object("01 00:00"))}, "30 00:00", []Expiry{Keep, Keep}},
		{"a marker that hides nothing goes", []string{enabled + inADay}, []store.Info{marker("02 00:00")}, "30 00:00", []Expiry{RemoveVersion}},
		{"when it is as old", []string{enabled + inADay}, []store.Info{marker("02 00:00")}, "02 23:00", []Expiry{Keep}},
		{"or at once where the rule is of markers", []string{enabled + "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"}, []store.Info{marker("02 00:00")}, "02 01:00", []Expiry{RemoveVersion}},
		{"a rule of markers leaves objects", []string{enabled + "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"}, []store.Info{object("02 00:00")}, "30 00:00", []Expiry{Keep}},
		{"a marker has no size", []string{filtered("<ObjectSizeLessThan>10</ObjectSizeLessThan>")}, []store.Info{marker("02 00:00")}, "30 00:00", []Expiry{Keep}},
		{"one of two rules is enough", []string{filtered("<Prefix>b/</Prefix>"), filtered("<Prefix>a/</Prefix>")}, []store.Info{object("01 10:00")}, "30 00:00", []Expiry{ExpireCurrent}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := parseLifecycle(t, test.rules...).Expired(test.versions, at(test.now)); !slices.Equal(got, test.want) {
				t.Errorf("the answer is %v, expected %v", got, test.want)
			}
		})
	}
}

func TestExpiredUpload(t *testing.T) {
	l := parseLifecycle(t, "<Status>Enabled</Status><Filter><Prefix>a/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
	begun := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		key  string
		now  time.Time
		want bool
	}{
		{"a/k", begun.AddDate(0, 0, 2), false},
		{"a/k", time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC), true},
		{"b/k", begun.AddDate(1, 0, 0), false},
	} {
		if got := l.ExpiredUpload(&store.Multipart{Key: test.key, Initiated: begun}, test.now); got != test.want {
			t.Errorf("the upload of %s at %s is expired: %t, expected %t", test.key, test.now, got, test.want)
		}
	}
}

func TestWhatALifecycleLooksAt(t *testing.T) {
	rule := func(prefix string) string {
		return fmt.Sprintf("<Status>Enabled</Status><Prefix>%s</Prefix>%s", prefix, inADay)
	}
	for _, test := range []struct {
		prefixes, want []string
	}{
		{[]string{"a/"}, []string{"a/"}},
		{[]string{"a/", "b/"}, []string{"a/", "b/"}},
		{[]string{"a/", "a/b/", "a/"}, []string{"a/"}},
		{[]string{"a/b", "a/c", "b", "a/"}, []string{"b", "a/"}},
		{[]string{"a/", ""}, []string{""}},
	} {
		var rules []string
		for _, p := range test.prefixes {
			rules = append(rules, rule(p))
		}
		if got := parseLifecycle(t, rules...).Prefixes(); !slices.Equal(got, test.want) {
			t.Errorf("the prefixes of %q are %q, expected %q", test.prefixes, got, test.want)
		}
	}
	if parseLifecycle(t, rule("a")).NeedsTags() || !parseLifecycle(t, "<Status>Enabled</Status><Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>"+inADay).NeedsTags() {
		t.Error("NeedsTags is not as the rules are")
	}
	l := parseLifecycle(t, "<ID>slow</ID>"+strings.Replace(enabled+inADay, ">1<", ">9<", 1), "<ID>fast</ID>"+enabled+inADay)
	at, name, ok := l.Expiration(&store.Info{Key: "k", Modified: time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)})
	if want := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC); !ok || name != "fast" || !at.Equal(want) {
		t.Errorf("the expiration is %s by %q, expected %s by fast", at, name, want)
	}
}
