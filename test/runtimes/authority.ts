/** An authority of a test and the certificates it signs, as PEM files in one directory: NAME.pem, NAME.key; ca.pem. */
import { execFileSync } from 'node:child_process';

const KEY = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes';

function openssl(directory: string, words: readonly string[]): void {
  execFileSync('openssl', words, { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] });
}

export function makeAuthority(directory: string, name: string): void {
  openssl(directory, words(`req -x509 ${KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=${name}`));
}

/** `subject` as openssl takes it (`/O=group/CN=user`), `names` as a subjectAltName (`IP:127.0.0.1,DNS:x`). */
export function issueCertificate(
  directory: string,
  { name, subject, names }: { name: string; subject: string; names: string },
): void {
  openssl(directory, [
    ...words(`req ${KEY} -keyout ${name}.key -out ${name}.csr`),
    '-subj',
    subject,
    '-addext',
    `subjectAltName=${names}`,
  ]);
  const issuer = '-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy';
  openssl(directory, words(`x509 -req -in ${name}.csr ${issuer} -out ${name}.pem`));
}

const words = (line: string): string[] => line.split(' ');
