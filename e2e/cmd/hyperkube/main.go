// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Command hyperkube is etcd, the Kubernetes components that the end-to-end tests run, and kubectl, linked into one file:
// they share most of their packages, so one link is a third of the size of six and takes two thirds of the time to build.
//
// The first argument, or the name it is called by, picks the component; the rest of the command line is the component's own.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics, as in the components' own main
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kubecontrollermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kubescheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// component is one of the programs in this file.
type component struct {
	name    string
	command func() *cobra.Command
}

func components() []component {
	return []component{
		{"kube-apiserver", kubeapiserver.NewAPIServerCommand},
		{"kube-controller-manager", kubecontrollermanager.NewControllerManagerCommand},
		{"kube-scheduler", func() *cobra.Command { return kubescheduler.NewSchedulerCommand() }},
		{"kubelet", func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }},
		{"kubectl", kubectl.NewDefaultKubectlCommand},
	}
}

func main() {
	args := os.Args
	if !known(filepath.Base(args[0])) && len(args) > 1 {
		args = args[1:]
	}
	name := filepath.Base(args[0])
	os.Args = args // the components read it themselves
	if name == "etcd" {
		etcdmain.Main(args)
		return
	}
	for _, c := range components() {
		if c.name == name {
			os.Exit(cli.Run(c.command()))
		}
	}
	names := []string{"etcd"}
	for _, c := range components() {
		names = append(names, c.name)
	}
	fmt.Fprintf(os.Stderr, "usage: hyperkube %s [flags]\n", strings.Join(names, "|"))
	os.Exit(2)
}

func known(name string) bool {
	return name == "etcd" || slices.ContainsFunc(components(), func(c component) bool { return c.name == name })
}
