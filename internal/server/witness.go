// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"

	"dossier.dev/dossier/internal/translog"
)

// WitnessKeyFile is the name of the file within Config.Data that holds the key of the witness.
const WitnessKeyFile = "witness.key"

// validateWitnesses finds faults in who witnesses and who is witnessed.
func (c ServeConfig) validateWitnesses(fault func(subject, why, hint string)) {
	for i, w := range c.Witnesses {
		where := fmt.Sprintf("witnesses[%d]", i)
		if _, err := translog.ParseWitness(w.Key); err != nil {
			fault(where+".key", "it is no verifier key of a witness", "a witness tells its key, NAME+HASH+KEY, when it starts")
		}
		if u, err := url.Parse(w.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			fault(where+".url", "it is not the URL of a witness", "write it like https://witness.example/witness")
		}
	}
	for i, key := range c.Witness.Logs {
		if _, err := translog.ParseLog(key); err != nil {
			fault(fmt.Sprintf("witness.logs[%d]", i), "it is no verifier key of a log", "a server tells the key of its log, NAME+HASH+KEY, when it starts")
		}
	}
	if len(c.Witness.Logs) > 0 && c.Witness.Key == "" && c.Data == "" {
		fault("witness.key", "there is no key to sign with, and no directory to make it in", "name a file")
	}
}

// askedWitnesses are those of the log.
func (c ServeConfig) askedWitnesses() ([]*translog.Asked, error) {
	var list []*translog.Asked
	for _, w := range c.Witnesses {
		key, err := translog.ParseWitness(w.Key)
		if err != nil {
			return nil, err
		}
		list = append(list, &translog.Asked{URL: w.URL, Key: key})
	}
	return list, nil
}

// openWitness returns what signs for other logs, or nil when there are none.
func openWitness(c ServeConfig, e *Engine) (http.Handler, error) {
	if len(c.Witness.Logs) == 0 {
		return nil, nil
	}
	path := c.Witness.Key
	if path == "" {
		path = filepath.Join(c.Data, WitnessKeyFile)
	}
	signer, key, err := translog.WitnessSigner(path, e.config.Now)
	if err != nil {
		return nil, err
	}
	w := &translog.Witnesser{Store: e.store, Signer: signer, Logger: e.config.Logger}
	for _, text := range c.Witness.Logs {
		log, err := translog.ParseLog(text)
		if err != nil {
			return nil, err
		}
		w.Logs = append(w.Logs, log)
	}
	e.config.Logger.Info("this is a witness", "key", key.String(), "logs", len(w.Logs))
	return w, nil
}
