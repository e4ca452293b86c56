// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// filled counts hashes.
var filled int

// fill gives each field of v, and of what it points to or lists, a value that is written.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("<Zoë> \"\\\n\U0001F600" + v.Type().Name())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1234567890)
	case reflect.Uint32, reflect.Uint64: // hashes, which are sorted
		v.SetUint(1)
		if filled++; filled%2 == 0 {
			v.SetUint(2)
		}
	}
}

// TestScan: scan reads all that is written, with every field or with few, as
// encoding/json does.
func TestScan(t *testing.T) {
	var full LayerResult
	fill(reflect.ValueOf(&full).Elem())
	for name, want := range map[string]LayerResult{"full": full, "empty": {}, "sample": sampleResult(t), "one": {Version: "1", Files: []File{{Path: "a"}}}} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := scan(string(b) + "\n")
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: read: %v (-want +got):\n%s", name, ok, diff)
		}
	}
}

// plainResult begins the JSON of a result as it is written.
const plainResult = `{"version":"1","digest":"d","size":1,"unpacked":2,"entries":3`

func TestScanLeaves(t *testing.T) {
	if _, ok := scan(plainResult + "}"); !ok {
		t.Fatal("what is written is not read")
	}
	for _, text := range []string{
		"", "{", "x", "null", "[]", plainResult, plainResult + "}x", plainResult + ",}", " " + plainResult + "}", plainResult + `,"more":1}`, plainResult + `,"size":1}`,
		plainResult + `,"files":[]}`, plainResult + `,"files":null}`, plainResult + `,"files":[{"path":"a"}}`, plainResult + `,"files":[{"path":"a"},]}`,
		plainResult + `,"licenses":{}}`, plainResult + `,"licenses":{"a":1}}`, plainResult + `,"removed":["a" ,"b"]}`, plainResult + `,"removed":["\x"]}`,
		plainResult + `,"names":"AA=="}`, plainResult + `,"names":"` + "\n" + `"}`, plainResult + `,"names":"`, plainResult + `,"missed":1}`, plainResult + `,"missed":[{]}`, plainResult + `,"missed":[`,
		strings.Replace(plainResult, "1,", "01,", 1) + "}", strings.Replace(plainResult, "1,", "-1,", 1) + "}", strings.Replace(plainResult, "1,", "1.5,", 1) + "}",
		strings.Replace(plainResult, `"1"`, "\"\x01\"", 1) + "}", strings.Replace(plainResult, `"1"`, "\"\xff\"", 1) + "}",
		`{"digest":"d","version":"1","size":1,"unpacked":2,"entries":3}`,
	} {
		if r, ok := scan(text); ok {
			t.Errorf("%q is read, as %+v", text, r)
		}
	}
}

// FuzzScan: what scan reads, encoding/json reads as the same.
func FuzzScan(f *testing.F) {
	var full LayerResult
	fill(reflect.ValueOf(&full).Elem())
	for _, r := range []LayerResult{full, {}, sampleResult(f)} {
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(plainResult + "}")
	f.Add(plainResult + `,"licenses":{"a":"b","a":"c"},"removed":["\ud800"],"names":"","missed":[{}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := scan(text)
		if !ok {
			return
		}
		var want LayerResult
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("read as %+v, but %v", got, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-encoding/json +scan):\n%s", diff)
		}
	})
}
