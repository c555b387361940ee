import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listFilterChains } from './filter-chains.ts';
import { NftError } from './library.ts';

/** What `nft -s list chains` prints on a host with Docker (iptables-nft), ufw for IPv6, firewalld, and us. */
const CHAINS = `table inet tartan {
	chain forward {
		type filter hook forward priority filter; policy accept;
	}
}
table inet tartan-policy {
	chain forward {
		type filter hook forward priority filter; policy accept;
	}
}
table inet tartan-policy-staged {
	chain forward {
		type filter hook forward priority filter; policy accept;
	}
}
table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
	chain DOCKER-USER {
	}
}
table ip6 filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
}
table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
	}
	chain nat_POSTROUTING {
		type nat hook postrouting priority srcnat + 10; policy accept;
	}
}
table inet gone {
	chain forward {
		type filter hook forward priority filter; policy accept;
	}
}
table bridge other {
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
`;
const FIREWALLD = (last: string): string => `table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state established,related accept
		${last}
	}
}
`;

function list(last: string): ReturnType<typeof listFilterChains> {
  const run = (command: string): string => {
    if (command === 'list chains') return CHAINS;
    assert.doesNotMatch(command, /tartan/, 'what is ours is not looked into');
    if (command === 'list chain inet firewalld filter_FORWARD') return FIREWALLD(last);
    throw new NftError('Error: No such file or directory');
  };
  return listFilterChains({ run, port: 1, close: () => undefined });
}

test('base chains of others at the hooks input and forward, with the chain that is left to the user', () => {
  assert.deepEqual(list('reject with icmpx admin-prohibited'), [
    { hook: 'input', family: 'ip', table: 'filter', chain: 'INPUT', policy: 'drop' },
    {
      hook: 'forward',
      family: 'ip',
      table: 'filter',
      chain: 'FORWARD',
      policy: 'drop',
      userChain: 'DOCKER-USER',
    },
    { hook: 'forward', family: 'ip6', table: 'filter', chain: 'FORWARD', policy: 'drop' },
    {
      hook: 'forward',
      family: 'inet',
      table: 'firewalld',
      chain: 'filter_FORWARD',
      policy: 'accept',
      rejects: true,
    },
    { hook: 'forward', family: 'inet', table: 'gone', chain: 'forward', policy: 'accept' },
  ]);
});

test('only a last rule without a condition rejects', () => {
  const rejects = (last: string): boolean =>
    list(last).some(({ table, rejects: yes }) => table === 'firewalld' && yes === true);
  for (const last of [
    'drop',
    'counter drop',
    'counter reject',
    'counter packets 1 bytes 60 drop comment "x y"',
  ])
    assert.ok(rejects(last), last);
  for (const last of ['ct state invalid drop', 'accept', 'jump reject_later', 'ip saddr 10.0.0.1 reject'])
    assert.ok(!rejects(last), last);
});
