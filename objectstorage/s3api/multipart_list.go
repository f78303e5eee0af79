package s3api

import (
	"strconv"

	"minicloud.internal/objectstorage/store"
)

// listParts answers with a page of the parts of an unfinished upload.
func (r *request) listParts() error {
	id := r.query.Get("uploadId")
	count, err := limit("max-parts", r.query.Get("max-parts"))
	if err != nil {
		return err
	}
	marker, err := bounded("part-number-marker", r.query.Get("part-number-marker"), 0)
	if err != nil {
		return err
	}
	multipart, err := r.h.store.GetMultipart(r.Context(), r.bucket, r.key, id)
	if err != nil {
		return err
	}
	var parts []store.Part
	more := false
	if count > 0 {
		if parts, more, err = r.h.store.ListParts(r.Context(), r.bucket, r.key, id, marker, count); err != nil {
			return err
		}
	}
	next := marker
	if len(parts) > 0 {
		next = parts[len(parts)-1].Number
	}
	x := newDocument("ListPartsResult")
	x.text("Bucket", r.bucket)
	x.text("Key", r.key)
	x.text("UploadId", id)
	x.owner("Initiator")
	x.owner("Owner")
	x.text("StorageClass", storageClass(multipart.Attributes.StorageClass))
	x.text("PartNumberMarker", strconv.Itoa(marker))
	x.text("NextPartNumberMarker", strconv.Itoa(next))
	x.text("MaxParts", strconv.Itoa(count))
	x.text("IsTruncated", strconv.FormatBool(more))
	x.checksumKind(multipart.Attributes.Checksum, "null")
	for _, p := range parts {
		x.open("Part")
		x.text("PartNumber", strconv.Itoa(p.Number))
		x.text("LastModified", timestamp(p.Modified))
		x.text("ETag", quoted(p.ETag))
		x.text("Size", strconv.FormatInt(p.Size, 10))
		sum := partChecksums(&multipart, p.Checksum)
		for _, a := range sum.given() {
			x.text("Checksum"+string(a), *sum.element(a))
		}
		x.close("Part")
	}
	return r.writeDocument(x)
}

// checksumKind writes the algorithm and type of an upload; absent stands for
// them where it has none, and nothing is written where absent is empty.
func (x *document) checksumKind(c store.Checksum, absent string) {
	if c.Algorithm == "" {
		c = store.Checksum{Algorithm: absent, Type: absent}
	}
	if c.Algorithm != "" {
		x.text("ChecksumAlgorithm", c.Algorithm)
		x.text("ChecksumType", c.Type)
	}
}

// listMultipartUploads answers with a page of the unfinished uploads, by key and
// then by their beginning.
func (r *request) listMultipartUploads() error {
	l, err := r.listing("")
	if err != nil {
		return err
	}
	if l.limit, err = limit("max-uploads", r.query.Get("max-uploads")); err != nil {
		return err
	}
	key, id := r.query.Get("key-marker"), r.query.Get("upload-id-marker")
	if key == "" {
		id = "" // S3 ignores it then
	}
	var page store.MultipartPage
	if l.limit > 0 {
		page, err = r.h.store.ListMultiparts(r.Context(), r.bucket, store.MultipartQuery{Query: l.query(key), AfterID: id})
		if err != nil {
			return err
		}
	}
	x := newDocument("ListMultipartUploadsResult")
	x.text("Bucket", r.bucket)
	x.optional("KeyMarker", l.name(key))
	x.optional("UploadIdMarker", id)
	x.optional("NextKeyMarker", l.name(page.Next))
	x.optional("NextUploadIdMarker", page.NextID)
	x.optional("Prefix", l.name(l.prefix))
	x.optional("Delimiter", l.name(l.delimiter))
	x.text("MaxUploads", strconv.Itoa(l.limit))
	if l.encoded {
		x.text("EncodingType", "url")
	}
	x.text("IsTruncated", strconv.FormatBool(page.Next != ""))
	for i := range page.Uploads {
		l.upload(x, &page.Uploads[i])
	}
	l.prefixes(x, page.Prefixes)
	return r.writeDocument(x)
}

func (l *listing) upload(x *document, m *store.Multipart) {
	x.open("Upload")
	x.text("Key", l.name(m.Key))
	x.text("UploadId", m.ID)
	x.owner("Initiator")
	x.owner("Owner")
	x.text("StorageClass", storageClass(m.Attributes.StorageClass))
	x.text("Initiated", timestamp(m.Initiated))
	x.checksumKind(m.Attributes.Checksum, "")
	x.close("Upload")
}
