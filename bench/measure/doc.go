// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package measure runs programs and says what they cost: time, processor,
// memory, fsyncs; and it says on which machine.
//
// It promises that no program outlives the context or the process that started
// it. It reads /proc, so it works on Linux only, and it does not say what is good.
package measure
