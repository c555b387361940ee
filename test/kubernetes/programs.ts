/** The programs of Kubernetes that scripts/kubernetes.sh has built. TARTAN_KUBERNETES names another directory of them. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const { TARTAN_KUBERNETES, TARTAN_CACHE, XDG_CACHE_HOME } = process.env;
const CACHE = TARTAN_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tartan');
const DIRECTORY = TARTAN_KUBERNETES ?? join(CACHE, 'kubernetes-1.20.2');

export type Program =
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-scheduler'
  | 'kubelet'
  | 'kube-proxy'
  | 'kubectl';

export const pathOf = (program: Program): string => join(DIRECTORY, program);

/** Why these cannot be run here, or undefined. */
export function whyNoPrograms(programs: readonly Program[]): string | undefined {
  const missing = programs.filter((program) => !existsSync(pathOf(program)));
  if (missing.length === 0) return undefined;
  return `${missing.join(', ')} not in ${DIRECTORY}: scripts/kubernetes.sh ${missing.join(' ')} builds them`;
}
