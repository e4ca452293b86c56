// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// podList is a list of reduced pods in the form that a reflector takes.
type podList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []podItem
}

// podItem is one of them.
type podItem struct {
	metav1.TypeMeta
	pod pod
}

func newPodList(pods []pod, version string) *podList {
	list := &podList{ListMeta: metav1.ListMeta{ResourceVersion: version}, Items: make([]podItem, len(pods))}
	for i, p := range pods {
		list.Items[i].pod = p
	}
	return list
}

// GetObjectKind implements runtime.Object.
func (l *podList) GetObjectKind() schema.ObjectKind { return &l.TypeMeta }

// DeepCopyObject implements runtime.Object. The pods are shared: nothing changes them.
func (l *podList) DeepCopyObject() runtime.Object {
	c := *l
	c.Items = append([]podItem(nil), l.Items...)
	return &c
}

// GetObjectKind implements runtime.Object.
func (i *podItem) GetObjectKind() schema.ObjectKind { return &i.TypeMeta }

// DeepCopyObject implements runtime.Object. The pod is shared: nothing changes it.
func (i *podItem) DeepCopyObject() runtime.Object {
	c := *i
	return &c
}
