package s3api

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

// lockNow is the door's time in these tests. It stands still; the store's goes on, but
// no test takes the hour that every lock lasts.
var lockNow = time.Now().UTC().Truncate(time.Second)

func inHours(n int) string {
	return lockNow.Add(time.Duration(n) * time.Hour).Format("2006-01-02T15:04:05.000Z")
}

// newLockDoor is a door whose bucket has object lock.
func newLockDoor(t *testing.T) *objectDoor {
	t.Helper()
	d := newObjectDoor(t, func(c *Config) { c.Now = func() time.Time { return lockNow } })
	if err := d.store.DeleteBucket(t.Context(), "files"); err != nil {
		t.Fatal(err)
	}
	d.do("PUT", "", "", "x-amz-bucket-object-lock-enabled", "true").want(t, 200, "")
	return d
}

// putVersion stores an object and returns its version.
func (d *objectDoor) putVersion(key string, headers ...string) string {
	d.t.Helper()
	return d.put(key, "body", append([]string{"Content-MD5", md5Of("body")}, headers...)...).Header.Get("X-Amz-Version-Id")
}

func (d *objectDoor) deleteVersion(key, version string, headers ...string) *answer {
	d.t.Helper()
	return d.do("DELETE", "/"+key+"?versionId="+version, "", headers...)
}

// message fails the test unless the error says that.
func (a *answer) message(t *testing.T, want string) {
	t.Helper()
	if got := a.error(t).Message; got != want {
		t.Errorf("%s %s says %q, expected %q", a.Request.Method, a.Request.URL.RequestURI(), got, want)
	}
}

const lockedMessage = "Access Denied because object protected by object lock."

func TestABucketWithObjectLockKeepsVersionsForGood(t *testing.T) {
	d := newLockDoor(t)
	if got := d.do("GET", "?versioning", "").want(t, 200, ""); !strings.Contains(got.body, "<Status>Enabled</Status>") {
		t.Errorf("its versioning is %s", got.body)
	}
	if got := d.do("GET", "?object-lock", "").want(t, 200, ""); !strings.Contains(got.body, "<ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>") {
		t.Errorf("its configuration is %s", got.body)
	}
	versioning := func(status string) *answer {
		return d.do("PUT", "?versioning", "<VersioningConfiguration><Status>"+status+"</Status></VersioningConfiguration>")
	}
	versioning("Enabled").want(t, 200, "")
	versioning("Suspended").want(t, 409, "InvalidBucketState").
		message(t, "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
	one, two := d.putVersion("k"), d.putVersion("k")
	if one == two || one == "" {
		t.Errorf("two writes made the versions %q and %q", one, two)
	}
	d.do("DELETE", "?object-lock", "").want(t, 501, "NotImplemented")
}

func TestABucketComesToObjectLockByItsVersions(t *testing.T) {
	d := newObjectDoor(t)
	d.do("GET", "?object-lock", "").want(t, 404, "ObjectLockConfigurationNotFoundError")
	const enable = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
	d.put("k", "body")
	for _, v := range []store.Versioning{store.Off, store.Suspended} {
		if v != store.Off {
			d.versioning(v)
		}
		d.do("PUT", "?object-lock", enable).want(t, 409, "InvalidBucketState").
			message(t, "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
	}
	d.versioning(store.Enabled)
	d.do("PUT", "?object-lock", enable).want(t, 200, "")
	d.do("GET", "?object-lock", "").want(t, 200, "")
	// What was there before can be locked too.
	d.do("PUT", "/k?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>").want(t, 200, "")
	d.deleteVersion("k", "null").want(t, 403, "AccessDenied")
}

func TestALockConfigurationIsCheckedAndComesBack(t *testing.T) {
	d := newLockDoor(t)
	rule := func(content string) string {
		return `<ObjectLockConfiguration xmlns="` + namespace + `"><ObjectLockEnabled>Enabled</ObjectLockEnabled>` + content + "</ObjectLockConfiguration>"
	}
	retention := func(content string) string {
		return rule("<Rule><DefaultRetention>" + content + "</DefaultRetention></Rule>")
	}
	for _, c := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"no default", rule(""), 200, ""},
		{"days", retention("<Mode>GOVERNANCE</Mode><Days>36500</Days>"), 200, ""},
		{"years", retention("<Mode>COMPLIANCE</Mode><Years>100</Years>"), 200, ""},
		{"nothing", "", 400, "MissingRequestBodyError"},
		{"no XML", "x", 400, "MalformedXML"},
		{"another root", "<Retention/>", 400, "MalformedXML"},
		{"not enabled", "<ObjectLockConfiguration/>", 400, "MalformedXML"},
		{"disabled", "<ObjectLockConfiguration><ObjectLockEnabled>Disabled</ObjectLockEnabled></ObjectLockConfiguration>", 400, "MalformedXML"},
		{"a rule of nothing", rule("<Rule/>"), 400, "MalformedXML"},
		{"no mode", retention("<Days>1</Days>"), 400, "MalformedXML"},
		{"a mode that is none", retention("<Mode>governance</Mode><Days>1</Days>"), 400, "MalformedXML"},
		{"no period", retention("<Mode>GOVERNANCE</Mode>"), 400, "MalformedXML"},
		{"two periods", retention("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"), 400, "MalformedXML"},
		{"a period that is no number", retention("<Mode>GOVERNANCE</Mode><Days>1.5</Days>"), 400, "MalformedXML"},
		{"no days", retention("<Mode>GOVERNANCE</Mode><Days>0</Days>"), 400, "InvalidArgument"},
		{"too many days", retention("<Mode>GOVERNANCE</Mode><Days>36501</Days>"), 400, "InvalidArgument"},
		{"years to come back from", retention("<Mode>GOVERNANCE</Mode><Years>-1</Years>"), 400, "InvalidArgument"},
		{"too many years", retention("<Mode>GOVERNANCE</Mode><Years>101</Years>"), 400, "InvalidArgument"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.do("PUT", "?object-lock", c.body).want(t, c.status, c.code)
			if got := d.do("GET", "?object-lock", "").want(t, 200, ""); c.status == 200 && !strings.HasSuffix(got.body, c.body) {
				t.Errorf("it came back as %s", got.body)
			}
		})
	}
}

func TestTheDefaultRetentionIsOfEveryNewVersion(t *testing.T) {
	d := newLockDoor(t)
	before := d.putVersion("before")
	configure := func(rule string) {
		d.do("PUT", "?object-lock", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>"+rule+"</ObjectLockConfiguration>").want(t, 200, "")
	}
	// A multipart upload that began before the rule.
	id := d.begin()
	etag := d.do("PUT", "/k?partNumber=1&"+id, "body", "Content-MD5", md5Of("body")).want(t, 200, "").Header.Get("ETag")
	configure("<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>2</Days></DefaultRetention></Rule>")
	wantLock := func(key, mode, until, hold string) {
		t.Helper()
		for _, method := range []string{"GET", "HEAD"} {
			got := d.do(method, "/"+key, "").want(t, 200, "")
			got.header(t, lockModeHeader, mode)
			got.header(t, lockUntilHeader, until)
			got.header(t, lockHoldHeader, hold)
		}
	}
	d.putVersion("put")
	wantLock("put", "GOVERNANCE", inHours(48), "")
	d.putVersion("own", "x-amz-object-lock-mode", "COMPLIANCE", "x-amz-object-lock-retain-until-date", inHours(1), "x-amz-object-lock-legal-hold", "OFF")
	wantLock("own", "COMPLIANCE", inHours(1), "OFF")
	d.do("PUT", "/copy", "", "x-amz-copy-source", "/files/own").want(t, 200, "")
	wantLock("copy", "GOVERNANCE", inHours(48), "")
	d.do("PUT", "/copied", "", "x-amz-copy-source", "/files/own", "x-amz-object-lock-legal-hold", "ON", "x-amz-metadata-directive", "REPLACE").want(t, 200, "")
	wantLock("copied", "GOVERNANCE", inHours(48), "ON")
	complete := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + etag + "</ETag></Part></CompleteMultipartUpload>"
	d.do("POST", "/k?"+id, complete).want(t, 200, "")
	wantLock("k", "GOVERNANCE", inHours(48), "")
	wantLock("before", "", "", "")
	d.deleteVersion("before", before).want(t, 204, "")

	d.do("PUT", "/put", "body").want(t, 400, "InvalidRequest").
		message(t, "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
	d.do("PUT", "/k?partNumber=1&"+d.begin(), "body").want(t, 400, "InvalidRequest").
		message(t, "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Part requests with Object Lock parameters")

	configure("<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Years>1</Years></DefaultRetention></Rule>")
	d.putVersion("years")
	wantLock("years", "COMPLIANCE", lockNow.AddDate(1, 0, 0).Format("2006-01-02T15:04:05.000Z"), "")
	configure("")
	d.putVersion("none")
	wantLock("none", "", "", "")
	d.put("none", "body") // and needs no digest
}

func TestWhatWritersSayOfTheLockIsChecked(t *testing.T) {
	d := newLockDoor(t)
	const mode, until, hold = "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold"
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		message string
	}{
		{"a retention", []string{mode, "GOVERNANCE", until, inHours(1)}, 200, ""},
		{"a retention in another zone", []string{mode, "GOVERNANCE", until, lockNow.Add(time.Hour).In(time.FixedZone("", 7200)).Format(time.RFC3339)}, 200, ""},
		{"a hold", []string{hold, "ON"}, 200, ""},
		{"both", []string{mode, "GOVERNANCE", until, inHours(1), hold, "ON"}, 200, ""},
		{"a mode alone", []string{mode, "GOVERNANCE"}, 400, "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied."},
		{"a date alone", []string{until, inHours(1)}, 400, "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied."},
		{"a mode that is none", []string{mode, "compliance", until, inHours(1)}, 400, "Unknown wormMode directive."},
		{"a date that is none", []string{mode, "COMPLIANCE", until, "tomorrow"}, 400, "The retain until date must be provided in ISO 8601 format"},
		{"a date that is past", []string{mode, "COMPLIANCE", until, inHours(0)}, 400, "The retain until date must be in the future!"},
		{"a hold that is none", []string{hold, "on"}, 400, "Legal Hold must be either of 'ON' or 'OFF'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, request := range []struct{ method, target, body string }{
				{"PUT", "/put", "body"}, {"POST", "/parts?uploads", ""}, {"PUT", "/copy", ""},
			} {
				headers := append([]string{"Content-MD5", md5Of(request.body)}, c.headers...)
				if request.target == "/copy" {
					d.putVersion("source")
					headers = append(headers, "x-amz-copy-source", "/files/source")
				}
				code := map[int]string{200: "", 400: "InvalidArgument"}[c.status]
				got := d.do(request.method, request.target, request.body, headers...).want(t, c.status, code)
				if c.message != "" {
					got.message(t, c.message)
				}
			}
		})
	}
	d.do("PUT", "/put", "body", hold, "ON").want(t, 400, "InvalidRequest") // no digest
}

func TestABucketWithoutObjectLockLocksNothing(t *testing.T) {
	plain := newObjectDoor(t)
	for _, headers := range [][]string{{lockModeHeader, "GOVERNANCE", lockUntilHeader, inHours(1)}, {lockHoldHeader, "OFF"}} {
		plain.do("PUT", "/k", "body", headers...).want(t, 400, "InvalidRequest").message(t, "Bucket is missing ObjectLockConfiguration")
		plain.do("POST", "/k?uploads", "", headers...).want(t, 400, "InvalidRequest")
	}
	plain.put("k", "body")
	for _, c := range []struct{ method, target, body string }{
		{"GET", "?retention", ""}, {"PUT", "?retention", retentionOf("GOVERNANCE", inHours(1))},
		{"GET", "?legal-hold", ""}, {"PUT", "?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>"},
	} {
		plain.do(c.method, "/k"+c.target, c.body).want(t, 400, "InvalidRequest").message(t, "Bucket is missing Object Lock Configuration")
		plain.do(c.method, "/absent"+c.target, c.body).want(t, 404, "NoSuchKey")
	}
}

func retentionOf(mode, until string) string {
	return "<Retention><Mode>" + mode + "</Mode><RetainUntilDate>" + until + "</RetainUntilDate></Retention>"
}

func TestALockedVersionStays(t *testing.T) {
	d := newLockDoor(t)
	const bypass = "x-amz-bypass-governance-retention"
	for _, c := range []struct {
		name         string
		headers      []string
		kept, bypass bool // from a deletion, and from one that bypasses
	}{
		{"without a lock", nil, false, false},
		{"a hold that is off", []string{lockHoldHeader, "OFF"}, false, false},
		{"a hold", []string{lockHoldHeader, "ON"}, true, true},
		{"governance", []string{lockModeHeader, "GOVERNANCE", lockUntilHeader, inHours(1)}, true, false},
		{"compliance", []string{lockModeHeader, "COMPLIANCE", lockUntilHeader, inHours(1)}, true, true},
		{"governance and a hold", []string{lockModeHeader, "GOVERNANCE", lockUntilHeader, inHours(1), lockHoldHeader, "ON"}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := strings.ReplaceAll(c.name, " ", "-")
			status := map[bool]int{true: 403, false: 204}
			version := d.putVersion(key, c.headers...)
			d.put(key, "over it")
			d.do("DELETE", "/"+key, "").want(t, 204, "").header(t, "X-Amz-Delete-Marker", "true")
			got := d.deleteVersion(key, version).want(t, status[c.kept], "")
			if !c.kept {
				return
			}
			got.message(t, lockedMessage)
			d.deleteVersion(key, version, bypass, "false").want(t, 403, "AccessDenied")
			remove := func(headers ...string) (result deleteResult) {
				body := "<Delete><Object><Key>" + key + "</Key><VersionId>" + version + "</VersionId></Object><Object><Key>" + key + "</Key></Object></Delete>"
				d.do("POST", "?delete", body, append(headers, "Content-MD5", md5Of(body))...).want(t, 200, "").decode(t, &result)
				return result
			}
			result := remove()
			if len(result.Deleted) != 1 || len(result.Error) != 1 || result.Error[0] != (deleteError{key, version, "AccessDenied", lockedMessage}) {
				t.Errorf("of the two in a list: %+v", result)
			}
			if d.do("GET", "/"+key+"?versionId="+version, "").want(t, 200, "").body != "body" {
				t.Error("the version is not what it was")
			}
			if result := remove(bypass, "true"); (len(result.Error) == 1) != c.bypass {
				t.Errorf("with bypass: %+v", result)
			}
			d.deleteVersion(key, version, bypass, "TRUE").want(t, status[c.bypass], "")
		})
	}
}

func TestARetentionIsReadAndChanged(t *testing.T) {
	d := newLockDoor(t)
	version := d.putVersion("k")
	put := func(body string, headers ...string) *answer {
		return d.do("PUT", "/k?retention&versionId="+version, body, headers...)
	}
	d.do("GET", "/k?retention", "").want(t, 404, "NoSuchObjectLockConfiguration")
	for _, c := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"nothing", "", 400, "MalformedXML"},
		{"no mode", "<Retention><RetainUntilDate>" + inHours(1) + "</RetainUntilDate></Retention>", 400, "MalformedXML"},
		{"no date", "<Retention><Mode>GOVERNANCE</Mode></Retention>", 400, "MalformedXML"},
		{"a mode that is none", retentionOf("X", inHours(1)), 400, "MalformedXML"},
		{"a date that is none", retentionOf("GOVERNANCE", "tomorrow"), 400, "MalformedXML"},
		{"a date that is past", retentionOf("GOVERNANCE", inHours(-1)), 400, "InvalidArgument"},
		{"a retention", retentionOf("GOVERNANCE", inHours(2)), 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) { put(c.body).want(t, c.status, c.code) })
	}
	got := d.do("GET", "/k?retention&versionId="+version, "").want(t, 200, "")
	want := `<Retention xmlns="` + namespace + `"><Mode>GOVERNANCE</Mode><RetainUntilDate>` + inHours(2) + `</RetainUntilDate></Retention>`
	if !strings.HasSuffix(got.body, want) {
		t.Errorf("it is %s", got.body)
	}
	put(retentionOf("GOVERNANCE", inHours(1))).want(t, 403, "AccessDenied").message(t, lockedMessage)
	put("<Retention/>").want(t, 403, "AccessDenied")
	put("<Retention/>", bypassHeader, "true").want(t, 200, "")
	d.do("GET", "/k?retention", "").want(t, 404, "NoSuchObjectLockConfiguration")
	d.deleteVersion("k", version).want(t, 204, "")

	put(retentionOf("GOVERNANCE", inHours(1))).want(t, 404, "NoSuchVersion")
	marker := d.do("DELETE", "/k", "").Header.Get("X-Amz-Version-Id")
	for _, target := range []string{"/k?retention&versionId=", "/k?legal-hold&versionId="} {
		d.do("GET", target+marker, "").want(t, 405, "MethodNotAllowed")
		d.do("GET", target+"no_such", "").want(t, 400, "InvalidArgument")
		d.do("GET", target, "").want(t, 404, "NoSuchKey")
	}
}

func TestWhatMayReplaceARetention(t *testing.T) {
	now := lockNow
	at := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	none := retention{}
	g, c := func(h int) retention { return retention{store.Governance, at(h)} }, func(h int) retention { return retention{store.Compliance, at(h)} }
	for _, test := range []struct {
		name          string
		old, new      retention
		plain, bypass bool
	}{
		{"where there is none", none, c(1), true, true},
		{"none by none", none, none, true, true},
		{"one that ended", c(0), g(1), true, true},
		{"one that ended by none", c(-1), none, true, true},
		{"governance by the same", g(2), g(2), true, true},
		{"governance by more", g(2), g(3), true, true},
		{"governance by less", g(2), g(1), false, true},
		{"governance by none", g(2), none, false, true},
		{"governance by compliance", g(2), c(3), false, true},
		{"compliance by the same", c(2), c(2), true, true},
		{"compliance by more", c(2), c(3), true, true},
		{"compliance by less", c(2), c(1), false, false},
		{"compliance by none", c(2), none, false, false},
		{"compliance by governance", c(2), g(3), false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := &store.Attributes{LockMode: test.old.mode, RetainUntil: test.old.until}
			for bypass, want := range map[bool]bool{false: test.plain, true: test.bypass} {
				if got := test.new.replaces(a, now, bypass); got != want {
					t.Errorf("with bypass %v: %v", bypass, got)
				}
			}
		})
	}
}

func TestALegalHoldIsReadAndChanged(t *testing.T) {
	d := newLockDoor(t)
	version := d.putVersion("k")
	put := func(body string) *answer { return d.do("PUT", "/k?legal-hold", body) }
	d.do("GET", "/k?legal-hold", "").want(t, 404, "NoSuchObjectLockConfiguration")
	for _, body := range []string{"", "<LegalHold/>", "<LegalHold><Status>MAYBE</Status></LegalHold>", "<Hold/>"} {
		put(body).want(t, 400, "MalformedXML")
	}
	for _, status := range []string{"ON", "OFF"} {
		put(`<LegalHold xmlns="`+namespace+`"><Status>`+status+"</Status></LegalHold>").want(t, 200, "")
		if got := d.do("GET", "/k?legal-hold&versionId="+version, "").want(t, 200, ""); !strings.HasSuffix(got.body, "<Status>"+status+"</Status></LegalHold>") {
			t.Errorf("%s is %s", status, got.body)
		}
		d.do("HEAD", "/k", "").header(t, lockHoldHeader, status)
		d.deleteVersion("k", version).want(t, map[string]int{"ON": 403, "OFF": 204}[status], "")
	}
}

func TestAFormLocksToo(t *testing.T) {
	d := newLockDoor(t)
	if err := d.store.UpdateBucket(t.Context(), "files", func(b *store.Bucket) error { b.Anonymous = "read-write"; return nil }); err != nil {
		t.Fatal(err)
	}
	post := func(fields ...string) *answer {
		var b strings.Builder
		for i := 0; i < len(fields); i += 2 {
			fmt.Fprintf(&b, "--x\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", fields[i], fields[i+1])
		}
		b.WriteString("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbody\r\n--x--\r\n")
		req := httptest.NewRequest("POST", d.URL+"/files", strings.NewReader(b.String()))
		req.RequestURI = ""
		req.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		return d.send(req)
	}
	post("key", "plain").want(t, 204, "")
	// Whoever may write may not lock: that is a permission of its own.
	post("key", "held", lockHoldHeader, "ON").want(t, 403, "AccessDenied")
	d.do("PUT", "?policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:PutObjectLegalHold","s3:PutObjectRetention"],"Resource":"arn:aws:s3:::files/*"}]}`).
		want(t, 204, "")
	post("key", "held", lockHoldHeader, "ON", lockModeHeader, "COMPLIANCE", lockUntilHeader, inHours(1)).want(t, 204, "")
	got := d.do("HEAD", "/held", "")
	got.header(t, lockHoldHeader, "ON")
	got.header(t, lockModeHeader, "COMPLIANCE")
}

func TestWhoMayLockAndLook(t *testing.T) {
	d := newLockDoor(t)
	if err := d.store.UpdateBucket(t.Context(), "files", func(b *store.Bucket) error { b.Anonymous = "read-write"; return nil }); err != nil {
		t.Fatal(err)
	}
	version := d.putVersion("k", lockModeHeader, "GOVERNANCE", lockUntilHeader, inHours(1), lockHoldHeader, "OFF")
	anonymous := func(method, target, body string, headers ...string) *answer {
		req := d.signed(method, target, body, headers...)
		req.Header.Del("Authorization")
		return d.send(req)
	}
	t.Run("a bucket that is open to all gives no power over locks", func(t *testing.T) {
		got := anonymous("GET", "/k", "").want(t, 200, "")
		got.header(t, lockModeHeader, "")
		got.header(t, lockHoldHeader, "")
		anonymous("PUT", "/new", "x", lockHoldHeader, "ON").want(t, 403, "AccessDenied")
		anonymous("DELETE", "/k?versionId="+version, "", bypassHeader, "true").want(t, 403, "AccessDenied")
		anonymous("GET", "/k?retention", "").want(t, 403, "AccessDenied")
		anonymous("PUT", "/k?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>").want(t, 403, "AccessDenied")
	})
	policy := func(effect, action string) {
		t.Helper()
		d.do("PUT", "?policy", `{"Version":"2012-10-17","Statement":[{"Effect":"`+effect+`","Principal":"*","Action":"`+action+`","Resource":"arn:aws:s3:::files/*"}]}`).want(t, 204, "")
	}
	t.Run("a policy denies", func(t *testing.T) {
		policy("Deny", "s3:PutObjectRetention")
		d.do("PUT", "/new", "x", lockModeHeader, "GOVERNANCE", lockUntilHeader, inHours(1), "Content-MD5", md5Of("x")).want(t, 403, "AccessDenied")
		policy("Deny", "s3:BypassGovernanceRetention")
		d.deleteVersion("k", version, bypassHeader, "true").want(t, 403, "AccessDenied").message(t, lockedMessage)
		policy("Deny", "s3:GetObjectRetention")
		d.do("HEAD", "/k", "").want(t, 200, "").header(t, lockModeHeader, "")
		d.do("HEAD", "/k", "").header(t, lockHoldHeader, "OFF")
	})
	t.Run("and a policy allows", func(t *testing.T) {
		policy("Allow", "s3:*")
		anonymous("GET", "/k", "").want(t, 200, "").header(t, lockModeHeader, "GOVERNANCE")
		anonymous("DELETE", "/k?versionId="+version, "").want(t, 403, "AccessDenied").message(t, lockedMessage)
		anonymous("DELETE", "/k?versionId="+version, "", bypassHeader, "true").want(t, 204, "")
	})
}

func TestALockAndADeletionDoNotPassEachOther(t *testing.T) {
	d := newLockDoor(t)
	for range 10 {
		version := d.putVersion("k")
		done := make(chan int, 1)
		var held atomic.Int32
		go func() {
			req := d.signed("PUT", "/k?legal-hold&versionId="+version, "<LegalHold><Status>ON</Status></LegalHold>")
			res, err := d.Client().Do(req)
			if err == nil {
				held.Store(int32(res.StatusCode))
				_ = res.Body.Close()
			}
			done <- 0
		}()
		deleted := d.deleteVersion("k", version).StatusCode
		<-done
		if ok := deleted == 204 && held.Load() == 404 || deleted == 403 && held.Load() == 200; !ok {
			t.Fatalf("the deletion got %d and the lock %d", deleted, held.Load())
		}
	}
}
