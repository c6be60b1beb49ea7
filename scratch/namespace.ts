/**
 * A throw-away network namespace: where rules and packets can be tried without touching this machine.
 *
 * It is held by a shell that reads a pipe of ours and is process 1 in there, so all of it is gone when we are, however
 * we end. Root gets one with all users in it; others get a user namespace as well, in which they are root and nobody
 * else is there.
 *
 * @module
 */
import { type Exec, type ExecSession, HostExec } from "../nft/mod.ts";

/** A namespace cannot be made, or not be made ready. */
export class ScratchError extends Error {
  override readonly name = "ScratchError";
}

const READY = /^holder (\d+)\nready$/m;

/** Runs programs in the namespace; it goes when this is disposed of. */
export class ScratchNamespace implements AsyncDisposable {
  /** Programs run here. */
  readonly exec: Exec;
  readonly #holder: ExecSession;

  private constructor(exec: Exec, holder: ExecSession) {
    this.exec = exec;
    this.#holder = holder;
  }

  /** @throws {ScratchError} where this user may make no namespaces. */
  static async open(): Promise<ScratchNamespace> {
    const host = new HostExec();
    const said: string[] = [];
    for (const userNamespace of [false, true]) {
      // After the user namespace, and not with it: xt_proto_init gives /proc/net/ip_tables_names to the namespace's
      // root, whom nobody knows before it has its uid map. unshare itself stays outside of the process namespace, so
      // its number is one that nsenter knows.
      const script = 'echo "holder $$"; exec unshare -nmpf --kill-child --mount-proc sh';
      const holder = host.open([...(userNamespace ? ["unshare", "-Ur"] : []), "sh", "-c", script]);
      // A /run of its own: no lock or named namespace of the machine's is met. Without -n mount(8) itself makes a folder
      // in the machine's.
      const reply = await holder.exchange(
        "mount -n -t tmpfs tmpfs /run && echo ready",
        ({ stdout, stderr }) => READY.test(stdout) || stderr !== "",
      );
      const pid = READY.exec(reply.stdout)?.[1];
      if (pid !== undefined) return new ScratchNamespace(new HostExec(entering(pid, userNamespace)), holder);
      await holder.close();
      said.push(reply.stderr.trim() || await holder.ended);
    }
    throw new ScratchError(`no scratch namespace can be made here: ${said.at(-1)}`);
  }

  /** Runs `script` in a shell. @throws {ScratchError} with what it complained about. */
  async setUp(script: string): Promise<void> {
    const { code, stderr } = await this.exec.run(["sh", "-e"], { stdin: script });
    if (code !== 0) throw new ScratchError(`scratch namespace: ${stderr.trim()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.close();
  }
}

function entering(pid: string, userNamespace: boolean): string[] {
  const namespaces = `/proc/${pid}/ns`;
  return [
    "nsenter",
    ...(userNamespace ? [`--user=${namespaces}/user`, "--preserve-credentials"] : []),
    `--net=${namespaces}/net`,
    `--mount=${namespaces}/mnt`,
    `--pid=${namespaces}/pid_for_children`,
    // Entering a mount namespace leaves the working directory at its root; and no look for a newer Deno from there.
    ...["env", `--chdir=${Deno.cwd()}`, "DENO_NO_UPDATE_CHECK=1"],
  ];
}
