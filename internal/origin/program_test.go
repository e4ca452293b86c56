// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"strings"
	"testing"
)

func TestPrograms(t *testing.T) {
	for name, tt := range map[string]struct {
		config Config
		want   string
	}{
		"absolute":          {Config{Entrypoint: []string{"/app", "-v"}}, "/app"},
		"unclean":           {Config{Entrypoint: []string{"/bin/../app"}}, "/app"},
		"command":           {Config{Cmd: []string{"/app"}}, "/app"},
		"PATH":              {Config{Cmd: []string{"app"}, Env: []string{"PATH=/x", "PATH=/a:relative:/b:/a"}}, "/a/app /b/app"},
		"standard PATH":     {Config{Cmd: []string{"app"}}, "/usr/local/sbin/app /usr/local/bin/app /usr/sbin/app /usr/bin/app /sbin/app /bin/app"},
		"working directory": {Config{Cmd: []string{"./app"}, WorkingDir: "/srv"}, "/srv/app"},
		"init":              {Config{Entrypoint: []string{"/sbin/tini", "-g", "--", "/app"}}, "/app"},
		"init with options": {Config{Entrypoint: []string{"dumb-init", "-v", "/app"}}, "/app"},
		"shell form":        {Config{Entrypoint: []string{"/bin/sh", "-c", "/app"}}, ""},
		"script by name":    {Config{Entrypoint: []string{"/docker-entrypoint.sh", "app"}}, ""},
		"interpreter":       {Config{Cmd: []string{"python3.12", "app"}}, ""},
		"windows":           {Config{Platform: Platform{OS: "windows"}, Cmd: []string{"/app"}}, ""},
		"nothing":           {Config{}, ""},
		"no word":           {Config{Cmd: []string{""}}, ""},
		"no path":           {Config{Cmd: []string{"a\x00b"}}, ""},
	} {
		if got := strings.Join(Programs(tt.config), " "); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func TestWords(t *testing.T) {
	c := Config{Entrypoint: []string{"/bin/sh", "-c"}, Cmd: []string{"exec java  -jar /app.jar", "x y"}}
	if got, want := strings.Join(Words(c), "|"), "/bin/sh|-c|exec|java|-jar|/app.jar|x y"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
