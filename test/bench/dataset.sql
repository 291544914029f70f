-- The database that is measured: a ticket system with a change log, its history
-- and attachments, 2.0 GB at factor 1. It needs MariaDB's sequence engine. The
-- names in braces are numbers of rows; a statement ends with its line.
set names utf8mb4;
create table words(id int primary key, w varchar(40)) engine=innodb default charset=utf8mb4;
insert into words select seq, concat(elt(1+seq%20,'network','router','é̈lève','ticket','Zürich','printer','login','password reset','serveur','mise à jour','データ','laptop','VPN','certificate','renewal','backup','storage','email','ÜBER','contract'), '-', conv(seq*7919,10,36)) from seq_0_to_9999;
create table ticket(
 id int not null auto_increment primary key, operational_status varchar(20) default 'ongoing', ref varchar(255) default '', org_id int default 0, caller_id int default 0, title varchar(255) not null, description text, description_format enum('text','html') default 'text', start_date datetime, end_date datetime, last_update datetime, private_log longtext, private_log_index blob, finalclass varchar(255) default 'Ticket', ftime double, cost decimal(12,2), flag tinyint(1), key org_id(org_id), key caller_id(caller_id), key finalclass(finalclass(95)), fulltext key ft(title)) engine=innodb default charset=utf8mb4;
insert into ticket(operational_status,ref,org_id,caller_id,title,description,start_date,end_date,last_update,private_log,private_log_index,ftime,cost,flag)
select elt(1+seq%3,'ongoing','resolved','closed'), concat('R-',lpad(seq,6,'0')), seq%997, seq%4999, concat('Problem with ',elt(1+seq%5,'mail','the VPN','"quoted" printer','O''Brien laptop','SAP'),' #',seq),
 concat('<p>',md5(seq),' User says:\n',repeat(concat(conv(seq*31,10,36),' lorem ipsum dolor sit amet, consectetur; '),1+seq%12),'\\path\\to\\file ',sha1(seq),'</p>'),
 date_add('2020-01-01',interval seq*97 second), if(seq%4=0,null,date_add('2020-01-02',interval seq*97 second)), date_add('2020-01-03',interval seq*97 second),
 concat('========== 2024-01-01 : admin ============\n\n',repeat(md5(seq*3),seq%20)), if(seq%2=0,null,unhex(concat(sha2(seq,512),md5(seq)))), rand(seq)*1000, seq/100, seq%2 from seq_1_to_{{.Tickets}};
create table priv_changeop(id int not null auto_increment primary key, changeid int, objclass varchar(255), objkey int, optype varchar(255), key changeid(changeid), key k2(objclass(95),objkey)) engine=innodb default charset=utf8mb4;
insert into priv_changeop(changeid,objclass,objkey,optype) select seq div 3, elt(1+seq%6,'UserRequest','Incident','Server','Person','Contract','Change'), seq%{{.Tickets}}, elt(1+seq%3,'CMDBChangeOpSetAttributeScalar','CMDBChangeOpSetAttributeText','CMDBChangeOpCreate') from seq_1_to_{{.Changes}};
create table priv_changeop_setatt_scalar(id int not null primary key, oldvalue varchar(255), newvalue varchar(255)) engine=innodb default charset=utf8mb4;
insert into priv_changeop_setatt_scalar select seq, md5(seq), concat(sha1(seq),' → ',seq) from seq_1_to_{{.Values}};
create table attachment(id int not null auto_increment primary key, expire datetime, item_class varchar(255), item_id int, contents_data longblob, contents_mimetype varchar(255), contents_filename varchar(255)) engine=innodb default charset=utf8mb4;
insert into attachment(expire,item_class,item_id,contents_data,contents_mimetype,contents_filename) select null,'UserRequest',seq, cast(concat(random_bytes(1024),random_bytes(1024),repeat(random_bytes(1000),60),random_bytes(1024),repeat(random_bytes(1024),100)) as binary),'application/pdf',concat('scan-',seq,'.pdf') from seq_1_to_{{.Attachments}};
analyze table ticket, priv_changeop, priv_changeop_setatt_scalar, attachment;
