package s3api

import (
	"strconv"

	"minicloud.internal/objectstorage/store"
)

// listObjectVersions answers with a page of all versions and delete markers, by key
// and of a key the latest first.
func (r *request) listObjectVersions() error {
	l, err := r.listing("max-keys cannot be negative")
	if err != nil {
		return err
	}
	key, version := r.query.Get("key-marker"), r.query.Get("version-id-marker")
	switch {
	case r.query.Has("version-id-marker") && version == "":
		return invalidArgument("version-id-marker", "", "A version-id marker cannot be empty.")
	case version != "" && key == "":
		return invalidArgument("version-id-marker", version, "A version-id marker cannot be specified without a key marker.")
	}
	var page store.VersionPage
	if l.limit > 0 {
		page, err = r.h.store.ListVersions(r.Context(), r.bucket, store.VersionQuery{Query: l.query(key), AfterVersion: version})
		if err != nil {
			return err
		}
	}
	x := newDocument("ListVersionsResult")
	x.text("Name", r.bucket)
	x.optional("Prefix", l.name(l.prefix))
	x.optional("KeyMarker", l.name(key))
	x.optional("VersionIdMarker", version)
	x.optional("NextKeyMarker", l.name(page.Next))
	x.optional("NextVersionIdMarker", page.NextVersion)
	l.head(x, page.Next != "")
	for i := range page.Versions {
		l.version(x, &page.Versions[i])
	}
	l.prefixes(x, page.Prefixes)
	return r.writeDocument(x)
}

// version writes a version or a delete marker.
func (l *listing) version(x *document, o *store.Info) {
	element := "Version"
	if o.DeleteMarker {
		element = "DeleteMarker"
	}
	x.open(element)
	x.text("Key", l.name(o.Key))
	x.text("VersionId", o.Version)
	x.text("IsLatest", strconv.FormatBool(o.Latest))
	x.text("LastModified", timestamp(o.Modified))
	if !o.DeleteMarker {
		x.text("ETag", quoted(o.ETag))
		if o.Checksum.Algorithm != "" {
			x.text("ChecksumAlgorithm", o.Checksum.Algorithm)
			x.text("ChecksumType", o.Checksum.Type)
		}
		x.text("Size", strconv.FormatInt(o.Size, 10))
		x.text("StorageClass", storageClass(o.StorageClass))
	}
	x.owner("Owner")
	x.close(element)
}
