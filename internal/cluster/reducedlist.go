// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// reducedList is a list of what was kept of objects, in the form that a
// reflector takes.
type reducedList[T any] struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []reduced[T]
}

// reduced is what was kept of one object.
type reduced[T any] struct {
	metav1.TypeMeta
	kept T
}

func newReducedList[T any](kept []T, version string) *reducedList[T] {
	list := &reducedList[T]{ListMeta: metav1.ListMeta{ResourceVersion: version}, Items: make([]reduced[T], len(kept))}
	for i, k := range kept {
		list.Items[i].kept = k
	}
	return list
}

// GetObjectKind implements runtime.Object.
func (l *reducedList[T]) GetObjectKind() schema.ObjectKind { return &l.TypeMeta }

// DeepCopyObject implements runtime.Object. What was kept is shared: nothing changes it.
func (l *reducedList[T]) DeepCopyObject() runtime.Object {
	c := *l
	c.Items = append([]reduced[T](nil), l.Items...)
	return &c
}

// GetObjectKind implements runtime.Object.
func (r *reduced[T]) GetObjectKind() schema.ObjectKind { return &r.TypeMeta }

// DeepCopyObject implements runtime.Object. What was kept is shared: nothing changes it.
func (r *reduced[T]) DeepCopyObject() runtime.Object {
	c := *r
	return &c
}
