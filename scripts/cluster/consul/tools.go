//go:build tools

// Package tools names what is built here, so that its version and its checksums are held in go.mod and go.sum.
package tools

import _ "github.com/hashicorp/consul"
