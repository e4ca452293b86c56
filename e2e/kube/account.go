// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd/api"
)

// ServiceAccountKubeconfig makes a service account that may do what the rules say in one namespace, or in the whole cluster
// when namespace is empty, and nothing else, and returns the path of a kubeconfig with its token. The account itself lives in
// that namespace, or in default.
func (c *Cluster) ServiceAccountKubeconfig(t testing.TB, namespace string, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	home := namespace
	if home == "" {
		home = metav1.NamespaceDefault
	}
	meta := metav1.ObjectMeta{GenerateName: "e2e-"}
	account, err := c.Client.CoreV1().ServiceAccounts(home).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	meta = metav1.ObjectMeta{Name: account.Name}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: home, Name: account.Name}}
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Name: account.Name}
	r := c.Client.RbacV1()
	if namespace == "" {
		role.Kind = "ClusterRole"
		_, err = r.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
		if err == nil {
			_, err = r.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: role}, metav1.CreateOptions{})
		}
	} else {
		role.Kind = "Role"
		_, err = r.Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
		if err == nil {
			_, err = r.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: role}, metav1.CreateOptions{})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	seconds := int64(3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := c.Client.CoreV1().ServiceAccounts(home).CreateToken(ctx, account.Name, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.writeKubeconfig(t, c.Server, &api.AuthInfo{Token: token.Status.Token})
}
