import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listFilterChains } from './filter-chains.ts';

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
/** With firewalld's last rule a rejecting one. */
function list(): ReturnType<typeof listFilterChains> {
  const run = (command: string): string => {
    assert.equal(command, 'list chains');
    return CHAINS;
  };
  return listFilterChains({ run }, ({ table }) => {
    assert.doesNotMatch(table, /^tartan/, 'what is ours is not looked into');
    return table === 'firewalld';
  });
}

test('base chains of others at the hooks input and forward, with the chain that is left to the user', () => {
  assert.deepEqual(list(), [
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
