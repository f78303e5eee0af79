package ingressclient

import (
	"net/http"
	"path/filepath"
	"strings"
)

// byExtension is a table of its own, so that the type of a file does not depend
// on what is installed on the machine that sends it.
var byExtension = map[string]string{
	".avif": "image/avif",
	".css":  "text/css",
	".csv":  "text/csv",
	".gif":  "image/gif",
	".gz":   "application/gzip",
	".htm":  "text/html",
	".html": "text/html",
	".ico":  "image/x-icon",
	".jpeg": "image/jpeg",
	".jpg":  "image/jpeg",
	".js":   "text/javascript",
	".json": "application/json",
	".md":   "text/markdown",
	".mp3":  "audio/mpeg",
	".mp4":  "video/mp4",
	".pdf":  "application/pdf",
	".png":  "image/png",
	".svg":  "image/svg+xml",
	".tar":  "application/x-tar",
	".toml": "application/toml",
	".txt":  "text/plain",
	".wasm": "application/wasm",
	".wav":  "audio/wav",
	".webm": "video/webm",
	".webp": "image/webp",
	".xml":  "application/xml",
	".yaml": "application/yaml",
	".yml":  "application/yaml",
	".zip":  "application/zip",
}

// mediaType returns the type of a file by its name, or else by its first bytes
// (the sniffing of WHATWG that net/http implements), or "" for a text that
// could be anything.
func mediaType(name string, start []byte) string {
	if kind := byExtension[strings.ToLower(filepath.Ext(name))]; kind != "" {
		return kind
	}
	if kind := http.DetectContentType(start); !strings.HasPrefix(kind, "text/plain") {
		return kind
	}
	return ""
}
