package caddymodule

import (
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/shapes"
)

// shapeFiles outlive a reload, so that each has one writer.
var shapeFiles = caddy.NewUsagePool()

type shapeFile struct{ *shapes.Collector }

// Destruct implements caddy.Destructor.
func (f shapeFile) Destruct() error {
	f.Close()
	return nil
}

// openShapes opens the file of the option shapes; nil where there is none.
func (h *Handler) openShapes() (*shapes.Collector, error) {
	if h.Shapes == "" {
		return nil, nil
	}
	path, err := filepath.Abs(h.Shapes)
	if err != nil {
		return nil, fmt.Errorf("shapes: %w", err)
	}
	file, _, err := share(h, shapeFiles, path, func() (shapeFile, error) {
		collector, err := shapes.Open(path, h.logger)
		return shapeFile{collector}, err
	})
	if err != nil {
		return nil, fmt.Errorf("shapes: %w", err)
	}
	return file.Collector, nil
}
