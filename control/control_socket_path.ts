/**
 * Where a running proxy can be spoken to: a Unix socket, named by network namespace and port, since those tell proxies
 * of one host apart.
 *
 * @module
 */

/** A folder for sockets. */
export interface SocketFolder {
  readonly path: string;
  /** Where anybody may make folders: it has to be ours alone. */
  readonly isShared: boolean;
  /** Whether it is there for as long as somebody has a socket in it, and no longer. */
  readonly isOurs: boolean;
}

const SUFFIX = ".sock";

/**
 * In the order in which they are tried: the one that a service manager made, root's, the user's own.
 *
 * @param environment as `Deno.env.get`.
 */
export function socketFolders(
  uid: number,
  environment: (name: string) => string | undefined = (name) => Deno.env.get(name),
): SocketFolder[] {
  const [ofService] = (environment("RUNTIME_DIRECTORY") ?? "").split(":");
  const ofUser = environment("XDG_RUNTIME_DIR");
  return [
    ...(ofService ? [{ path: ofService, isShared: false, isOurs: false }] : []),
    { path: "/run/pellucid", isShared: false, isOurs: true },
    ...(ofUser ? [{ path: `${ofUser}/pellucid`, isShared: false, isOurs: true }] : []),
    { path: `/tmp/pellucid-${uid}`, isShared: true, isOurs: true },
  ];
}

/** Of the proxy with this port in our network namespace. */
export function socketName(port: number): string {
  return `${networkNamespace()}-${port}${SUFFIX}`;
}

/** The port in the name of a socket of our network namespace; undefined: it is none. */
export function portOfSocket(name: string): number | undefined {
  const [namespace, port] = name.replace(SUFFIX, "").split("-");
  return isSocketName(name) && namespace === `${networkNamespace()}` ? Number(port) : undefined;
}

/** Whether a file of that name was made by a proxy. */
export function isSocketName(name: string): boolean {
  return /^\d+-\d+\.sock$/.test(name);
}

/** Whether nobody else can have put anything there. */
export function isSafeFolder({ path, isShared }: SocketFolder, uid: number): boolean {
  if (!isShared) return true;
  try {
    const { isDirectory, uid: owner, mode } = Deno.lstatSync(path);
    return isDirectory && owner === uid && ((mode ?? 0) & 0o077) === 0;
  } catch {
    return false;
  }
}

function networkNamespace(): number {
  return Deno.statSync("/proc/self/ns/net").ino!;
}
