// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"dossier.dev/dossier/internal/render"
)

// Version is set when a release is built (-ldflags -X); it is never written otherwise.
var Version = ""

// buildVersion says what this program was built from.
type buildVersion struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// String is what people read of it.
func (v buildVersion) String() string {
	return fmt.Sprintf("dossier %s %s %s", v.Version, v.Platform, v.Go)
}

func readVersion() buildVersion {
	v := buildVersion{Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	return v
}

func (p *program) versionCommand() *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "version",
		Short: "What this program was built from",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := out.check(); err != nil {
				return err
			}
			v := readVersion()
			return out.write(p, v, func(render.Options) error {
				_, err := fmt.Fprintln(p.stdout, v)
				return err
			})
		},
	}
	out.register(cmd.Flags())
	return cmd
}
