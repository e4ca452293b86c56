// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
)

// globalFlags are understood by every command.
type globalFlags struct {
	data       string
	database   string
	server     string
	token      string
	offline    bool
	plainHTTP  []string
	registryCA string
	verbose    int
}

func (g *globalFlags) register(f *pflag.FlagSet, env map[string]string) {
	f.StringVar(&g.data, "data", dataDir(env), "`directory` of the embedded store")
	f.StringVar(&g.database, "database", env["DOSSIER_DATABASE"], "PostgreSQL `URL` to use instead of the embedded store; else that of $DOSSIER_DATABASE")
	f.StringVar(&g.server, "server", env["DOSSIER_SERVER"], "ask the Dossier server at this `URL`; else that of $DOSSIER_SERVER")
	for _, secret := range []string{"database", "server"} {
		f.Lookup(secret).DefValue = "" // help does not show it: there may be a password in it
	}
	f.BoolVar(&g.offline, "offline", false, "use no network: answer from what is stored")
	f.StringSliceVar(&g.plainHTTP, "plain-http", nil, "`host` of a registry that is spoken to without TLS (loopback always may be)")
	f.StringVar(&g.registryCA, "registry-ca", "", "`file` with certificates to trust for registries, besides the system's")
	f.CountVarP(&g.verbose, "verbose", "v", "say what is done on stderr; -vv says more")
	g.token = env["DOSSIER_TOKEN"]
}

// dataDir follows the XDG base directory specification.
func dataDir(env map[string]string) string {
	if dir := env["XDG_DATA_HOME"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "dossier")
	}
	if home := env["HOME"]; home != "" {
		return filepath.Join(home, ".local", "share", "dossier")
	}
	return ""
}

// outputFlags say how a result is printed.
type outputFlags struct {
	more      []string // forms that the command has beside the usual ones
	format    string
	noHeaders bool
	color     string
}

func (o *outputFlags) register(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "output", "o", "table", "`form` of the output: "+strings.Join(o.forms(), ", "))
	f.BoolVar(&o.noHeaders, "no-headers", false, "no titles above the columns")
	f.StringVar(&o.color, "color", "auto", "`when` to use colours: auto (on a terminal), always, never")
}

// forms are the forms of output that there are.
func (o *outputFlags) forms() []string {
	return slices.Concat([]string{"table", "wide", "json", "yaml"}, o.more)
}

func (o *outputFlags) check() error {
	if forms := o.forms(); !slices.Contains(forms, o.format) {
		last := len(forms) - 1
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--output="+o.format, "want "+strings.Join(forms[:last], ", ")+" or "+forms[last])}
	}
	switch o.color {
	case "auto", "always", "never":
		return nil
	}
	return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--color="+o.color, "want auto, always or never")}
}

// data reports whether programs will read the output.
func (o *outputFlags) data() bool { return o.format == "json" || o.format == "yaml" }

// options fits the output to the terminal, if it goes to one.
func (o *outputFlags) options(p *program) render.Options {
	opt := render.Options{NoHeaders: o.noHeaders, Wide: o.format == "wide", Color: o.color == "always", ASCII: !utf8Locale(p.env)}
	if f, ok := p.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			opt.Width = w
		}
		if o.color == "auto" && p.env["NO_COLOR"] == "" && p.env["TERM"] != "dumb" {
			opt.Color = true
		}
	}
	return opt
}

// utf8Locale reports whether the environment can show letters beyond ASCII. An
// environment that says nothing can.
func utf8Locale(env map[string]string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env[name]; v != "" {
			return utf8Name.MatchString(v)
		}
	}
	return true
}

// write prints a result: table says how as a table.
func (o *outputFlags) write(p *program, v any, table func(render.Options) error) error {
	switch o.format {
	case "json":
		return render.JSON(p.stdout, v)
	case "yaml":
		return render.YAML(p.stdout, v)
	}
	return table(o.options(p))
}

// atFlag asks for a past time.
type atFlag struct{ valid, recorded string }

func (a *atFlag) register(f *pflag.FlagSet) {
	f.StringVar(&a.valid, "at", "", "answer as of a past `time` (RFC 3339, or a date): what was so then")
	f.StringVar(&a.recorded, "known-at", "", "answer with what was known at a past `time`")
}

func (a *atFlag) times() (dossier.Times, error) {
	valid, err := parseTime("--at", a.valid)
	if err != nil {
		return dossier.Times{}, err
	}
	recorded, err := parseTime("--known-at", a.recorded)
	return dossier.Times{Valid: valid, Recorded: recorded}, err
}

func parseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return dossier.Instant(t), nil
		}
	}
	return time.Time{}, usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", flag+"="+s, "want a time such as 2026-01-31T12:00:00Z, or a date")}
}

var utf8Name = regexp.MustCompile(`(?i)utf-?8`)
