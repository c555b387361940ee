/**
 * The DNS of a cluster, as a pod of it: `node dns.ts` answers A questions for SERVICE.NAMESPACE.svc.cluster.local over UDP
 * with the Service's address, which it asks the API server for, by the pod's service account and the address of the
 * Service `kubernetes`. Every other name does not exist. It listens on TCP 8053 as long as it works, for a readiness probe.
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { createServer } from 'node:net';

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const NAME = /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc\.cluster\.local$/;
const [NO_ERROR, SERVER_FAILURE, NAME_ERROR] = [0, 2, 3];
const A = 1;

type Question = { readonly name: string; readonly type: number; readonly end: number };

/** RFC 1035, 4.1.2: labels with their lengths, the type, the class; behind the header of 12 bytes. */
function readQuestion(message: Buffer): Question {
  const labels: string[] = [];
  let at = 12;
  for (let length = message.readUInt8(at); length > 0; length = message.readUInt8(at)) {
    labels.push(message.toString('ascii', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

/** An authoritative answer with one address or none. */
function answer(message: Buffer, end: number, code: number, address?: string): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(message.readUInt16BE(0), 0);
  header.writeUInt16BE(0x8480 | code, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(address === undefined ? 0 : 1, 6);
  const record =
    address === undefined
      ? []
      : [Buffer.from([0xc0, 12, 0, A, 0, 1, 0, 0, 0, 5, 0, 4]), Buffer.from(address.split('.').map(Number))];
  return Buffer.concat([header, message.subarray(12, end), ...record]);
}

/** undefined: there is no such Service. */
function lookUp(namespace: string, service: string): Promise<string | undefined> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
  const path = `/api/v1/namespaces/${namespace}/services/${service}`;
  const headers = { authorization: `Bearer ${readFileSync(`${ACCOUNT}/token`, 'utf8')}` };
  return new Promise((resolve, reject) => {
    const ca = readFileSync(`${ACCOUNT}/ca.crt`);
    const asked = get({ host, port, path, headers, ca, timeout: 3000 }, (response) => {
      let text = '';
      response.on('data', (part: Buffer) => (text += part.toString()));
      response.on('end', () => {
        if (response.statusCode === 404) return resolve(undefined);
        if (response.statusCode !== 200) return reject(new Error(`${response.statusCode}: ${text}`));
        resolve((JSON.parse(text) as { spec: { clusterIP: string } }).spec.clusterIP);
      });
    });
    asked.on('timeout', () => asked.destroy(new Error('the API server does not answer')));
    asked.on('error', reject);
  });
}

async function respond(message: Buffer): Promise<Buffer> {
  const { name, type, end } = readQuestion(message);
  const [, service = '', namespace = ''] = NAME.exec(name) ?? [];
  if (service === '') return answer(message, end, NAME_ERROR);
  try {
    const address = await lookUp(namespace, service);
    if (address === undefined) return answer(message, end, NAME_ERROR);
    return answer(message, end, NO_ERROR, type === A ? address : undefined);
  } catch (error) {
    console.error(name, error);
    return answer(message, end, SERVER_FAILURE);
  }
}

const socket = createSocket('udp4', (message, { address, port }) => {
  void respond(message).then((reply) => socket.send(reply, port, address));
});
socket.bind(53, () => createServer((connection) => connection.end()).listen(8053));
