// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

// Rule is a permission that the package uses, as in an RBAC role.
type Rule struct {
	APIGroup  string // "" is the core group
	Resources []string
	Names     []string // empty: all
	Verbs     []string
	// ClusterWide: only a ClusterRole can grant it. Others can be granted in each
	// namespace of the scope instead.
	ClusterWide bool
	// Optional: without it some places know less, as Why says.
	Optional bool
	Why      string
}

// Rules are the least permissions that List, Watch and WatchTemplates need. RBAC
// knows no permission for metadata alone; List and Watch ask only for that of
// everything but pods.
func Rules() []Rule {
	const pins = " Without it the retention rules of the registry take nothing away."
	return []Rule{
		{
			Resources: []string{"pods"}, Verbs: []string{"list", "watch"},
			Why: "What runs.",
		},
		{
			APIGroup: "apps", Resources: []string{"replicasets"}, Verbs: []string{"get", "list", "watch"}, Optional: true,
			Why: "The Deployment above a pod, and what its rollout history names; without it the ReplicaSet is shown." + pins,
		},
		{
			APIGroup: "batch", Resources: []string{"jobs"}, Verbs: []string{"get", "list", "watch"}, Optional: true,
			Why: "The CronJob above a pod, and what the template names; without it the Job is shown." + pins,
		},
		{
			Resources: []string{"nodes"}, Verbs: []string{"get", "list"}, ClusterWide: true, Optional: true,
			Why: "The platform on which a pod runs; without it every platform of an image is looked at.",
		},
		{
			Resources: []string{"namespaces"}, Names: []string{"kube-system"}, Verbs: []string{"get"}, ClusterWide: true, Optional: true,
			Why: "The cluster's identity; without it the server's address and CA stand for it.",
		},
		{
			APIGroup: "apps", Resources: []string{"deployments", "statefulsets", "daemonsets"}, Verbs: []string{"get", "list", "watch"}, Optional: true,
			Why: "What their templates name, and the custom resource above a workload. Grant get and list for its own kind where it has an owner in turn." + pins,
		},
		{
			APIGroup: "apps", Resources: []string{"controllerrevisions"}, Verbs: []string{"list", "watch"}, Optional: true,
			Why: "What the rollout history of StatefulSets and DaemonSets names." + pins,
		},
		{
			APIGroup: "batch", Resources: []string{"cronjobs"}, Verbs: []string{"get", "list", "watch"}, Optional: true,
			Why: "What their templates name, also while they are suspended, and the custom resource above a CronJob." + pins,
		},
		{
			Resources: []string{"replicationcontrollers", "podtemplates"}, Verbs: []string{"list", "watch"}, Optional: true,
			Why: "What their templates name." + pins,
		},
	}
}
